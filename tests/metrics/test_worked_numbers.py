"""Worked numbers of the methods' papers and specifications that no test of a single scorer has."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tracking_cases import random_video

from whenwhere.metrics.bleu import bleu
from whenwhere.metrics.caption_files import score_captions
from whenwhere.metrics.chota import chota
from whenwhere.metrics.cider import cider
from whenwhere.metrics.entities import entities
from whenwhere.metrics.rouge import rouge_l
from whenwhere.metrics.segments import action_segmentation
from whenwhere.metrics.tracks import Detections
from whenwhere.metrics.word_grounding import word_grounding

NEWS = ["the president met the mayor in paris", "a storm hit the coast of florida", "police arrested two men in london"]
TOLD = ["the president met the mayor in paris", "a storm hit the coast", "two men met in paris"]


def test_captions_of_news():
    wanted = [[text] for text in NEWS]
    found = cider(TOLD, wanted)
    assert found.items == pytest.approx([10.0, 7.3766, 1.6940], abs=1e-4)
    assert found.corpus == pytest.approx(6.3569, abs=1e-4)
    assert rouge_l(TOLD, wanted).items == pytest.approx([1.0, 0.8090, 0.5367], abs=5e-5)


def test_the_news_themselves():
    wanted = [[text] for text in NEWS]
    assert cider(NEWS, wanted).items == pytest.approx([10.0] * 3)
    assert rouge_l(NEWS, wanted).corpus == pytest.approx(1.0) and bleu(NEWS, wanted).corpus == pytest.approx([1.0] * 4)
    assert cider(NEWS[:1], wanted[:1]).corpus == 0.0  # with one document all weights are 0


def test_letters_are_not_made_small():
    """Scorers of tokenised text take it as it is: a name in other letters is another word."""
    wanted, large = [[text] for text in NEWS], [text.replace("paris", "Paris") for text in NEWS]
    assert cider(large, wanted).corpus < 10.0 and rouge_l(large, wanted).corpus < 1.0
    pair = {"x": [("paris", "GPE")]}, {"x": [("Paris", "GPE")]}
    assert entities(*pair).figures()["f1"] == 0.0 and entities(*pair).figures()["lenient_f1"] == 1.0


def test_points_of_a_token():
    """The predicted points are off by 2 in x and by 4 in y: (1 + 2) / 2; a token without a place does not count."""
    token = {"predicted": [[10, 10], [30, 40]], "true": [[12, 10], [30, 36]]}
    nowhere = {"predicted": [[9, 9]], "true": [[0, 0], [0, 0]]}
    found = word_grounding([{"id": 0, "size": [1, 1], "words": [token, nowhere]}])
    assert found.figures()["point_l1"] == pytest.approx(1.5)
    canvas = word_grounding([{"id": 0, "size": [640, 480], "words": [token, nowhere]}])
    assert canvas.figures()["point_l1"] == pytest.approx((2 / 640 + 4 / 480) / 4)


def test_chota_is_the_cube_root_of_its_parts():
    """As in the published rows, such as 65.8, 70.4, 39.7 and 56.9."""
    assert np.cbrt(65.8 * 70.4 * 39.7) == pytest.approx(56.9, abs=0.05)

    def alike(said, wanted):
        return np.linspace(0.2, 0.6, len(said))

    video = [Detections(one.frames, one.ids, one.boxes, ["a dog"] * len(one)) for one in random_video(3)]
    figures = chota({"v": (video[0], video[1])}, {"CIDEr": alike, "METEOR": alike, "SPICE": alike}).figures()
    parts = [figures[f"{name}@0.5"] for name in ("DetA", "AssA", "CapA")]
    assert 0 < min(parts) < max(parts) < 1
    assert figures["CHOTA@0.5"] == pytest.approx(np.cbrt(np.prod(parts)))


def test_all_background_is_right_as_often_as_there_is_background():
    steps = ["-"] * 6 + ["cut"] * 2
    figures = action_segmentation({"v": ["-"] * 8}, {"v": steps}, background="-").figures()
    assert figures["accuracy"] == 6 / 8 and figures["accuracy_steps"] == 0.0


def test_news_as_files_have_them(tmp_path):
    """Punctuation goes, case stays: a name in small letters is another word. CIDEr-D has both names."""
    told = ["The president met; the mayor, in Paris.", "A storm hit the coast!", "Two men met, in Paris."]
    wanted = [
        "The president met the mayor in Paris",
        "A storm hit the coast of Florida",
        "Police arrested two men in London",
    ]
    said, truth = tmp_path / "said.json", tmp_path / "truth.json"

    def figures(captions: list[str], **options) -> dict[str, float]:
        for path, texts in ((said, captions), (truth, wanted)):
            path.write_text(json.dumps([{"image_id": row, "caption": text} for row, text in enumerate(texts)]))
        return score_captions([truth], said, **options).figures()

    found = figures(told, news=True)
    assert found["CIDEr"] == found["CIDEr-D"] == pytest.approx(cider(*words(told, wanted)).corpus)
    assert found["CIDEr_plain"] == pytest.approx(cider(*words(told, wanted), variant="CIDEr").corpus)
    assert found["CIDEr_plain"] > found["CIDEr"] + 0.1
    usual = figures(told)
    assert usual["CIDEr"] == pytest.approx(6.3569, abs=1e-4)
    assert usual["CIDEr_plain"] == pytest.approx(cider(TOLD, [[text] for text in NEWS], variant="CIDEr").corpus)
    small = [text.lower() for text in told]
    assert figures(small)["CIDEr"] == pytest.approx(usual["CIDEr"])
    assert figures(small, news=True)["CIDEr"] < found["CIDEr"] - 0.1
    assert "case kept" in score_captions([truth], said, news=True).convention


def words(told: list[str], wanted: list[str]) -> tuple[list[str], list[list[str]]]:
    """Without ``; , . !``."""
    plain = [[text.translate(str.maketrans("", "", ";,.!")) for text in side] for side in (told, wanted)]
    return plain[0], [[text] for text in plain[1]]
