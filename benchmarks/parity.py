"""How far the figures of ``whenwhere score`` are from those that other programs gave for the same files.

Run: python benchmarks/parity.py [--data ../shared/data] [--out benchmarks/results/parity.json]
Needs: the recorded figures in DATA/scorers, the extra ``meteor``. Cost: seconds. Every case goes through
``score_files``, as the command does; the recorded figures are those of the programs named as references, and
nothing of them is run here.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.metrics.bleu import bleu_of_counts
from whenwhere.metrics.qvhighlights import published
from whenwhere.metrics.result import Figures, Result
from whenwhere.metrics.tasks import score_files

Pairs = dict[str, tuple[Any, Any]]  # name to ours and theirs, numbers or arrays
METEOR_BOUND, BOUND = 2e-3, 1e-6


@dataclass(frozen=True)
class Case:
    """Recorded figures of one pair of files.

    Attributes:
        task: of ``whenwhere score``.
        files: truth, predictions and recorded figures, below the folder of the data.
        reference: the program that gave the figures.
        pairs: result, figures and the recorded JSON to what is compared.
        bound: the difference that is allowed.
    """

    task: str
    files: tuple[str, str, str]
    reference: str
    pairs: Callable[[Result, Figures, Any], Pairs]
    bound: float = BOUND


def _captions(result: Result, figures: Figures, expected: Any) -> Pairs:
    """BLEU, ROUGE-L and CIDEr of the set and of every image."""
    rows = [result.ids.index(str(image)) for image in expected["image_ids"]]
    items = dict(result.items)
    items |= {f"Bleu_{n + 1}": column for n, column in enumerate(bleu_of_counts(items["bleu_counts"]).T)}
    names = [name for name in expected["corpus"] if name != "METEOR"]
    pairs: Pairs = {name: (figures[name], expected["corpus"][name]) for name in names}
    return pairs | {f"{name} of images": (items[name][rows], expected["per_image"][name]) for name in names}


def _captions_meteor(result: Result, figures: Figures, expected: Any) -> Pairs:
    rows = [result.ids.index(str(image)) for image in expected["image_ids"]]
    each = result.items["METEOR_mean"][rows], expected["per_image"]["METEOR"]
    return {"METEOR": (figures["METEOR"], expected["corpus"]["METEOR"]), "METEOR of images": each}


def _dense(result: Result, figures: Figures, expected: Any) -> Pairs:
    names = {"F1": "f1_per_threshold", "soda_c": "SODA_c", "Rouge-L": "ROUGE_L"}
    return {
        name: (figures[names.get(name, name if name in figures else name.lower())], value)
        for name, value in expected.items()
        if name != "METEOR"
    }


def _dense_meteor(result: Result, figures: Figures, expected: Any) -> Pairs:
    return {"METEOR": (figures["METEOR"], expected["METEOR"])}


def _moments(result: Result, figures: Figures, expected: Any) -> Pairs:
    return _leaves(published(figures), expected)


def _leaves(ours: Any, theirs: Any, path: str = "") -> Pairs:
    if isinstance(theirs, Mapping):
        return {
            key: pair for name in theirs for key, pair in _leaves(ours[name], theirs[name], f"{path}/{name}").items()
        }
    return {path: (ours, theirs)}


def _trackeval(result: Result, figures: Figures, expected: Any) -> Pairs:
    names = {"CLR_Re": "Recall", "CLR_Pr": "Precision", "CLR_TP": "TP", "CLR_FN": "FN", "CLR_FP": "FP"}
    known = expected["trackeval"]
    return {name: (figures[names.get(name, name)], known[name]) for name in known if names.get(name, name) in figures}


def _motmetrics(result: Result, figures: Figures, expected: Any) -> Pairs:
    names = {
        **{"mota": "MOTA", "idf1": "IDF1", "idp": "IDP", "idr": "IDR", "num_switches": "IDSW"},
        **{"num_false_positives": "FP", "num_misses": "FN", "mostly_tracked": "MT", "partially_tracked": "PT"},
        **{"mostly_lost": "ML", "recall": "Recall", "precision": "Precision", "idtp": "IDTP", "idfp": "IDFP"},
        **{"idfn": "IDFN"},
    }
    known = expected["motmetrics_1_4_0"]
    pairs: Pairs = {theirs: (figures[ours], known[theirs]) for theirs, ours in names.items() if ours in figures}
    return pairs | {"motp": (1 - figures["MOTP"], known["motp"])}


def _boxes(result: Result, figures: Figures, expected: Any) -> Pairs:
    known = expected["summary"] | {f"AP/{name}": value for name, value in expected["AP_per_category"].items()}
    return {name: (figures[name], value) for name, value in known.items()}


def _vos(result: Result, figures: Figures, expected: Any) -> Pairs:
    return {name: (figures[name], value) for name, value in expected["trackeval"].items()}


_PEOPLE, _DEGENERATE = "scorers/captions/human_vs_human.json", "scorers/captions/degenerate_150.json"
_PEOPLES, _DEGENERATES = (_PEOPLE, _PEOPLE, _PEOPLE), (_DEGENERATE, _DEGENERATE, _DEGENERATE)
_YOUCOOK = (
    "scorers/dense_captions/gt.json",
    "scorers/dense_captions/pred.json",
    "scorers/dense_captions/expected.json",
)
_HIGHLIGHTS = (
    "scorers/qvhighlights/highlight_val_release.jsonl.gz",
    "scorers/qvhighlights/preds.jsonl.gz",
    "scorers/qvhighlights/expected.json",
)
_CAMPUS = (
    "scorers/mot/TUD-Campus/gt.txt",
    "scorers/mot/TUD-Campus/test.txt",
    "scorers/mot/TUD-Campus/expected.json",
)
_COCO = (
    "coco_mini/val/instances.json",
    "scorers/detection/yolox_nano_preds.json",
    "scorers/detection/expected.json",
)
_DAVIS = (
    "davis_mini/Annotations/480p/car-shadow",
    "scorers/vos/car-shadow",
    "scorers/vos/car-shadow_expected.json",
)
_JAVA = "METEOR 1.5 (Java)"
_PRINTED = "the authors' printed figures, percent with two decimals"
CASES: dict[str, Case] = {
    "people's captions": Case("captions", _PEOPLES, "pycocoevalcap 1.2", _captions),
    "people's captions, METEOR": Case("captions", _PEOPLES, _JAVA, _captions_meteor, METEOR_BOUND),
    "degenerate captions": Case("captions", _DEGENERATES, "pycocoevalcap 1.2", _captions),
    "degenerate captions, METEOR": Case("captions", _DEGENERATES, _JAVA, _captions_meteor, METEOR_BOUND),
    "YouCook2 events": Case("dense-captions", _YOUCOOK, "densevid_eval and SODA", _dense),
    "YouCook2 events, METEOR": Case(
        "dense-captions", _YOUCOOK, f"densevid_eval with {_JAVA}", _dense_meteor, METEOR_BOUND
    ),
    "QVHighlights": Case("moments", _HIGHLIGHTS, _PRINTED, _moments),
    "TUD-Campus": Case("mot", _CAMPUS, "TrackEval", _trackeval),
    "TUD-Campus, counts": Case("mot", _CAMPUS, "motmetrics 1.4.0", _motmetrics),
    "COCO boxes": Case("boxes", _COCO, "pycocotools 2.0.11", _boxes),
    "DAVIS car-shadow": Case("vos", _DAVIS, "TrackEval", _vos),
}


def measure(case: Case, data: Path) -> dict[str, Any]:
    """How many figures there are and how far the worst one is off."""
    truth, said, recorded = (data / path for path in case.files)
    result, figures = score_files(case.task, [truth], said)
    expected = json.loads(recorded.read_text(encoding="utf-8"))
    far: dict[str, float] = {}
    number = 0
    for name, (ours, theirs) in case.pairs(result, figures, expected).items():
        left, right = np.atleast_1d(np.asarray(ours, np.float64)), np.atleast_1d(np.asarray(theirs, np.float64))
        if left.shape != right.shape or not np.isfinite(left).all():
            raise ValueError(f"{name}: {left.shape} figures for {right.shape}, or one that is not a number")
        far[name] = float(np.abs(left - right).max())
        number += left.size
    worst = max(far, key=lambda name: far[name])
    return {"figures": number, "largest difference": far[worst], "of": worst}


def table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of ``docs/metrics.md``."""
    lines = ["| case | task | reference | figures | largest difference |", "|---|---|---|---|---|"]
    for name, row in cases.items():
        far = f"{row['largest difference']:.0e}" if row["largest difference"] else "0"
        lines.append(f"| {name} | `{row['task']}` | {row['reference']} | {row['figures']:,} | {far} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all cases, write them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WHENWHERE_SHARED", "../shared")) / "data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parity.json")
    arguments = parser.parse_args()
    rows = {
        name: {"task": case.task, "reference": case.reference, **measure(case, arguments.data), "bound": case.bound}
        for name, case in CASES.items()
    }
    temporary = arguments.out.with_suffix(".part")
    temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, arguments.out)
    print(table(rows))


if __name__ == "__main__":
    main()
