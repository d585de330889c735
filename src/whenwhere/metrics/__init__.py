"""Scorers: plain records in, numbers out, one implementation of each metric, numpy only.

==================  =============================================================================
module              what it has
==================  =============================================================================
``captions``        ``captions``: CIDEr, ROUGE-L and BLEU of captions as people write them
``dense_captions``  ``dense_captions``: the same for the pairs of events that overlap in time
``localisation``    ``localisation``, ``start_localisation``: precision, recall, F1 of event times
``soda``            ``soda_c``, and ``soda_dp``: the order-preserving matching behind it
``events``          the records of dense captioning, and ``tiou``
``retrieval``       ``recall_at_k``
``moments``         ``moments``: R@k and mIoU of moment retrieval (Charades-STA, ActivityNet Captions)
``qvhighlights``    ``qvhighlights``: moments and highlights by the convention of QVHighlights
``actions``         ``action_detection``: mAP as ActivityNet computes it
``segments``        ``action_segmentation``: frame accuracy, edit score, F1@k
``referring``       ``referring_boxes``, ``referring_masks``: P@0.5, cIoU, mIoU
``semantic``        ``semantic_segmentation``: mIoU by one confusion matrix
``word_grounding``  ``word_grounding``: where the words of a narrative are
``region_captions`` ``dense_region_captions``: mAP of Visual Genome
``tracking``        ``tracking``: all of ``hota``, ``clear_mot`` and ``identity``, each a module of its own
``chota``           ``chota``: tracks with captions
``tubes``           ``tube_grounding``: sIoU, tIoU, vIoU
``video_objects``   ``video_objects``: J&F of masks
``dense_voc``       ``score_dense_voc``: CHOTA's parts and AP_M of files
``box_ap``          ``box_ap``: the 12 figures of COCO for boxes, AP by category
``box_matches``     matches of boxes, kept so that any resample can be counted
``tracks``          ``Detections``: the records of tracking; ``track_files`` reads them
``entities``        ``entities``: precision, recall and F1 of names
``cater``, ``acre`` ``snitch_localisation``, ``acre``: benchmarks of reasoning
``vtab``            ``vtab_means``: group mean and task mean of VTAB-1k
``result``          ``Result``: what the newer scorers return: figures, intervals, convention, counts
``tasks``           ``TASKS``, ``score_files``: what ``whenwhere score`` knows
``files``           JSON and JSON lines whose records know their place
``cider``           ``cider``, ``CiderScorer``, ``document_frequencies`` on tokenised text
``bleu``            ``bleu`` on tokenised text
``rouge``           ``rouge_l`` on tokenised text
``meteor``          ``meteor`` on tokenised text, ``meteor_pair_scores``; needs the extra ``meteor``
``ptb``             ``tokenize``: the Penn Treebank tokens that the caption scorers take
==================  =============================================================================

``python -m whenwhere.metrics.captions`` and ``python -m whenwhere.metrics.dense_captions`` score files.
"""
