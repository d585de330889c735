"""The tasks that ``whenwhere score`` knows: one entry each, from files to a result.

A new task is a function ``(gt files, pred file) -> Result`` and an entry in :data:`TASKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whenwhere.errors import InputError, WhenwhereError
from whenwhere.metrics.box_ap import NAMES, read_coco
from whenwhere.metrics.caption_files import Meteor, score_captions, score_dense_captions
from whenwhere.metrics.dense_voc import score_dense_voc
from whenwhere.metrics.files import read_records
from whenwhere.metrics.mask_files import score_segmentation, score_vos
from whenwhere.metrics.place_files import score_regions, score_words
from whenwhere.metrics.qvhighlights import published, qvhighlights
from whenwhere.metrics.reasoning_files import score_acre, score_cater
from whenwhere.metrics.record_files import score_actions, score_names, score_referring
from whenwhere.metrics.records import by_id
from whenwhere.metrics.result import Figures, Result
from whenwhere.metrics.segment_files import score_segments
from whenwhere.metrics.track_files import score_mot
from whenwhere.metrics.tubes import tube_grounding

# Figures that people ask for and that are not given under a name that is not theirs.
REFUSED = {
    "spice": "SPICE needs a Java program with a parser and models of its own, which cannot be had offline; no other "
    "figure is given in its place",
}


@dataclass(frozen=True)
class Task:
    """One kind of files that can be scored.

    Attributes:
        what: what is scored, for people.
        gt: the form of the truth.
        pred: the form of the predictions.
        score: truth files (several annotators), a prediction file and the options to a result.
        brief: the figures that are printed; all of them if empty.
        annotators: whether several truth files may be given.
        own_form: figures in the form that the authors of the task publish, for comparison.
        options: what else ``score`` takes, by keyword.
    """

    what: str
    gt: str
    pred: str
    score: Callable[..., Result]
    brief: tuple[str, ...] = ()
    annotators: bool = False
    own_form: Callable[[Mapping[str, float]], Any] | None = None
    options: tuple[str, ...] = ()


def meteor() -> Meteor:
    """METEOR of tokenised captions: the one place where it is plugged in.

    Raises:
        MissingDependency: if it cannot be computed; the other figures are then given without it.
    """
    from whenwhere.metrics.meteor import meteor as scorer

    scorer(["a"], [["a"]])  # asks for the language tables
    return scorer


def _with_meteor(score: Callable[..., Result]) -> Callable[..., Result]:
    def run(gt: Sequence[Path], pred: Path, **options: Any) -> Result:
        try:
            scorer = meteor()
        except WhenwhereError as error:
            found = score(gt, pred, None, **options)
            return replace(found, left_out={**found.left_out, "METEOR": str(error)})
        return score(gt, pred, scorer, **options)

    return run


def _boxes(gt: Sequence[Path], pred: Path) -> Result:
    return read_coco(gt[0], pred)


def _tubes(gt: Sequence[Path], pred: Path) -> Result:
    found, wanted = by_id(read_records(pred), "id", "prediction"), by_id(read_records(gt[0]), "id", "sample")
    for name in found.keys() - wanted.keys():
        raise InputError(f"{found[name].place}: sample {name!r}", f"a sample of {gt[0]}", "leave it out")
    return tube_grounding(found, wanted)


def _moments(gt: Sequence[Path], pred: Path) -> Result:
    return qvhighlights(read_records(pred), read_records(gt[0]))


TASKS: dict[str, Task] = {
    "captions": Task(
        "captions of images or clips: CIDEr-D and plain CIDEr, ROUGE-L, BLEU, METEOR; --news for news",
        'image_id with "caption" (many lines an image), or with a list "references" or "captions"',
        'image_id with "caption" or "candidate"',
        _with_meteor(score_captions),
        options=("news",),
    ),
    "dense-captions": Task(
        "timed captions of videos: caption figures of matched events, precision and recall of times",
        "ActivityNet Captions: {video: {timestamps, sentences}}; a file for each annotator",
        "{results: {video: [{timestamp, sentence}, ...]}}",
        _with_meteor(score_dense_captions),
        brief=(
            *("METEOR", "CIDEr", "ROUGE_L", "Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4"),
            *("SODA_c", "paragraph_METEOR", "paragraph_CIDEr"),
            *("precision", "recall", "f1_per_video", "f1_per_threshold"),
        ),
        annotators=True,
    ),
    "moments": Task(
        "moments and highlights of queries in videos, by the convention of QVHighlights",
        "JSON lines with qid and relevant_windows; for highlights duration, relevant_clip_ids, saliency_scores",
        "JSON lines with qid and pred_relevant_windows [[start, end, score], ...]; for highlights pred_saliency_scores",
        _moments,
        brief=(
            *("MR-full-R1@0.5", "MR-full-R1@0.7", "MR-full-mAP@0.5", "MR-full-mAP@0.75", "MR-full-mAP", "MR-full-mIoU"),
            *("MR-short-mAP", "MR-middle-mAP", "MR-long-mAP"),
            *(f"HL-min-{level}-{part}" for level in ("Fair", "Good", "VeryGood") for part in ("mAP", "Hit1")),
        ),
        own_form=published,
    ),
    "actions": Task(
        "action segments of videos, by the convention of ActivityNet",
        "ActivityNet: {database: {video: {annotations: [{label, segment}, ...]}}} with the videos that are scored",
        "{results: {video: [{label, segment, score}, ...]}}",
        score_actions,
    ),
    "referring": Task(
        "boxes of referring expressions",
        "id and bbox [x, y, width, height] of each expression",
        "id and bbox, null where nothing was found",
        score_referring,
    ),
    "names": Task(
        "named entities in captions",
        "id and caption_entities [{text, label}, ...]",
        "id and generated_entities [{text, label}, ...]",
        score_names,
    ),
    "mot": Task(
        "tracks of objects in videos: HOTA, CLEAR MOT, identity scores",
        "MOTChallenge text: a file, or a folder of <video>.txt or <video>/gt/gt.txt",
        "MOTChallenge text: a file, or a folder of <video>.txt",
        score_mot,
        brief=("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDSW", "FP", "FN", "MT", "ML", "Frag"),
    ),
    "dense-voc": Task(
        "tracks with captions (Dense Video Object Captioning): CHOTA's parts, AP_M of frames",
        '{"images": [{id, video_id}], "annotations": [{image_id, track_id, bbox, caption}]}',
        "[{image_id, track_id, bbox, score, caption}, ...]",
        _with_meteor(score_dense_voc),
    ),
    "boxes": Task(
        "boxes of objects in images: the 12 figures of COCO, AP by category",
        "COCO instances: images, annotations, categories",
        "COCO results: [{image_id, category_id, bbox, score}, ...]",
        _boxes,
        brief=NAMES,
    ),
    "tubes": Task(
        "spatio-temporal grounding of sentences: sIoU, tIoU, vIoU",
        'JSON lines with id, span [start, end) and boxes {frame: [x1, y1, x2, y2]}; perhaps "frames" and "type"',
        "JSON lines with id, span and boxes",
        _tubes,
    ),
    "vos": Task(
        "masks of objects in videos: J, F, J&F, recall and decay, by the convention of DAVIS",
        "a folder of PNG masks, one a frame, or a folder of such folders, one a video",
        "the same, with files of the same names",
        score_vos,
        options=("skip_ends",),
    ),
    "segmentation": Task(
        "a class for every pixel of images: mIoU and accuracy; --background says what becomes of background",
        "a folder of PNG label maps, or ImageSets/Segmentation/SPLIT.txt of a set in the form of PASCAL VOC",
        "a folder of PNG label maps of the same names",
        score_segmentation,
        brief=("mIoU", "mean_accuracy", "fwIoU", "pixel_accuracy"),
        options=("background", "classes"),
    ),
    "words": Task(
        "places of the words of narratives: point error, hit rate, distance of centres",
        "Localized Narratives, JSON lines",
        'image_id with "size" [width, height] and "words" [{x, y} or {points: [[x, y], ...]}, ...], one an utterance',
        score_words,
    ),
    "region-captions": Task(
        "regions of images with captions: mAP of Visual Genome over IoU and METEOR",
        "a folder with region_descriptions.json and image_data.json of Visual Genome",
        "[{image_id, bbox, score, caption}, ...]",
        _with_meteor(score_regions),
        brief=("mAP", "detection_mAP"),
    ),
    "segments": Task(
        "a step for every frame of videos: frame accuracy, edit score, F1@k",
        "a folder of <video>.txt with a label a line, {video: [label, ...]}, or COIN.json",
        "the same; for COIN {rate: frames a second, results: {video: [step number or null, ...]}}",
        score_segments,
        options=("background",),
    ),
    "acre": Task(
        "answers to the queries of ACRE, one regime: by query, by problem, by type",
        "config/SPLIT.json of a regime",
        '"id" (number of the problem) with "answers", four of 0, 1, 2',
        score_acre,
    ),
    "cater": Task(
        "the cell where the snitch of CATER ends: top-1, top-5, L1",
        "lists/localize/SPLIT.txt: a video and its cell a line",
        '"id" (name of the video) with "scores", one for every cell',
        score_cater,
    ),
}

ALIASES = {"tracking": "mot"}
"""Other names of tasks."""


def score_files(
    task: str,
    gt: Sequence[Path],
    pred: Path | None,
    metrics: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> tuple[Result, Figures]:
    """Score a file of predictions.

    Args:
        task: a name in :data:`TASKS` or :data:`ALIASES`.
        gt: the truth, one file; several where a task has annotators.
        pred: the predictions.
        metrics: figures that are wanted; all if empty.
        options: of the task, by name.

    Returns:
        The result, and the figures that were wanted.

    Raises:
        InputError: an unknown task, figure or option, files that are missing, damaged, or do not go together.
    """
    for name in (task, *metrics):
        if name.lower() in REFUSED:
            raise InputError(f"{name}: {REFUSED[name.lower()]}")
    task = ALIASES.get(task, task)
    if task not in TASKS:
        raise InputError(f"unknown task {task!r}", f"one of {', '.join(TASKS)}")
    known = TASKS[task]
    for name in options or {}:
        if name not in known.options:
            takers = [other for other, entry in TASKS.items() if name in entry.options]
            raise InputError(f"--{name.replace('_', '-')} for {task}", f"it with {' or '.join(takers)}", "leave it out")
    if not gt or pred is None:
        raise InputError(f"{task} without {'--pred' if gt else '--gt'}", f"--gt: {known.gt} --pred: {known.pred}")
    if len(gt) > 1 and not known.annotators:
        raise InputError(f"{len(gt)} files of truth", f"one for {task}")
    result = known.score(gt, pred, **(options or {}))
    figures = result.figures()
    for name in metrics:
        if name in result.left_out:
            raise InputError(f"{name} cannot be had: {result.left_out[name]}")
        if name not in figures:
            raise InputError(f"unknown figure {name!r} of {task}", f"one of {', '.join(figures)}")
    return result, {name: figures[name] for name in metrics} if metrics else figures
