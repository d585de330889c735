"""Scorers: plain records in, numbers out, one implementation of each metric, numpy only.

==================  =============================================================================
module              what it has
==================  =============================================================================
``captions``        ``captions``: CIDEr, ROUGE-L and BLEU of captions as people write them
``dense_captions``  ``dense_captions``: the same for the pairs of events that overlap in time
``localisation``    ``localisation``, ``start_localisation``: precision, recall, F1 of event times
``soda``            ``soda_dp``: the order-preserving matching behind SODA
``events``          the records of dense captioning, and ``tiou``
``retrieval``       ``recall_at_k``
``cider``           ``cider``, ``CiderScorer``, ``document_frequencies`` on tokenised text
``bleu``            ``bleu`` on tokenised text
``rouge``           ``rouge_l`` on tokenised text
``meteor``          ``meteor`` on tokenised text, ``meteor_pair_scores``; needs the extra ``meteor``
``ptb``             ``tokenize``: the Penn Treebank tokens that the caption scorers take
==================  =============================================================================

``python -m whenwhere.metrics.captions`` and ``python -m whenwhere.metrics.dense_captions`` score files.
"""
