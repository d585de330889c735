"""The papers of an adapter: what the card says is what was measured, and odd names do not break its table."""

from __future__ import annotations

import json

import numpy as np

from whenwhere.reports import adapted

FACTS = {
    "data": "pets|2024",
    "examples": {"train": 30, "test": 12},
    "classes": ["cat", "dog", "newt"],
    "left_out": ["pets/cat/broken.jpg"],
    "held_out": True,
    "untested": ["newt"],
    "clips": False,
    "version": "1.2.3",
    "recipe": {
        "method": "losa", "settings": {"rank": 4}, "backbone": "vit-tiny", "size": None, "frames": 1, "epochs": 10,
        "batch": 16, "lr": 0.001, "weight_decay": 0.0001, "mirror": True, "views": 1, "seed": 3,
    },
    "steps": 18,
    "resumed_at": 0,
    "size": 64,
    "trained": {"adapter": 1234, "head": 579},
    "accuracy": {"train": 0.9, "test": 0.75},
    "interval": [0.4677, 0.9111],
    "seconds": {"prepare": 61.0, "train": 22.4, "test": 1.6},
    "cached": [40, 42],
    "cache": "states of 42 examples",
    "examples_per_second": 12.5,
    "peak_memory_mb": 1010.4,
}  # fmt: skip
CONFUSION = np.array([[4, 0, 0], [2, 2, 0], [0, 1, 3]])
CURVES = {"loss": {"train": ([1, 2], [0.7, 0.2])}, "accuracy": {"test": ([2], [0.75])}}
SAID = [{"file": "pets/cat/ä.jpg", "label": "cat", "said": "cat", "probability": 0.8}]


def card(folder, **changes) -> str:
    adapted.write(folder, {**FACTS, **changes}, CONFUSION, CURVES, SAID)
    return (folder / "card.md").read_text(encoding="utf-8")


def test_the_card_says_what_was_measured(tmp_path):
    text = card(tmp_path)
    for line in (
        "# losa on vit-tiny",
        "Says which of 3 classes a picture shows: cat, dog, newt.",
        "| data | pets\\|2024: 30 train, 12 test examples |",
        "| test accuracy | 0.7500 (95 % interval 0.4677 to 0.9111) |",
        "| trained numbers | 1,234 in the adapter, 579 in the head |",
        "| input | 64 pixels |",
        '| settings | {"rank": 4} |',
        "| time | 61 s reading and caching, 22 s training, 2 s testing |",
        "- dog → cat: 2",
        "- newt → dog: 1",
        "| whenwhere | 1.2.3 |",
        "The data has no test split: the test examples, one in five of each class, were held out by whenwhere.",
        "There is no test example of newt: the accuracy says nothing of it.",
        "Left out, because they cannot be decoded: pets/cat/broken.jpg.",
        f"whenwhere predict {tmp_path} IMAGE ...",
    ):
        assert line in text.splitlines(), line
    assert "AdamW at 0.001, weight decay 0.0001, seed 3, with mirror images" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in table)


def test_a_run_that_went_on_and_clips_and_many_classes_are_told(tmp_path):
    many = [f"class {number}" for number in range(20)]
    recipe = {**FACTS["recipe"], "frames": 8, "mirror": False}
    facts = {**FACTS, "classes": many, "recipe": recipe, "resumed_at": 12, "left_out": []}
    adapted.write(tmp_path, facts, np.eye(20, dtype=int), CURVES, SAID)
    text = (tmp_path / "card.md").read_text()
    assert "| time, from step 12 on |" in text and "8 frames of each clip" in text
    assert "class 11 and 8 more" in text and "mirror" not in text
    assert "mixed up" not in text and "Left out" not in text


def test_programs_read_the_figures_and_people_see_the_pictures(tmp_path):
    card(tmp_path)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert {name: figures[name] for name in FACTS} == FACTS and figures["confusion"] == CONFUSION.tolist()
    (row,) = map(json.loads, (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    assert row == SAID[0]
    for name in ("confusion.png", "curves.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
        assert f"({name})" in (tmp_path / "card.md").read_text()
