"""Box AP: the 12 recorded figures, pycocotools live, invariants, bad records."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.metrics.box_ap import NAMES, box_ap, read_coco


def scene(seed: int = 0, images: int = 6) -> tuple[dict, list[dict]]:
    """Boxes of three categories and all sizes, some crowds; predictions near them and anywhere."""
    draw = np.random.default_rng(seed)
    annotations, said = [], []
    for image in range(1, images + 1):
        for _ in range(5):
            box = [*draw.uniform(0, 300, 2).tolist(), *draw.uniform(8, 200, 2).tolist()]
            record = {"image_id": image, "category_id": int(draw.choice([1, 3, 7])), "bbox": box}
            crowd = int(draw.random() < 0.1)
            annotations.append(record | {"id": len(annotations) + 1, "area": box[2] * box[3] * 0.8, "iscrowd": crowd})
            for _ in range(2):
                near = [value + float(draw.normal(0, 4)) for value in box]
                near[2:] = [abs(size) for size in near[2:]]
                said.append(record | {"bbox": near, "score": round(float(draw.random()), 1)})
    pictures = [{"id": image, "width": 600, "height": 600} for image in range(1, images + 1)]
    return {
        "images": pictures,
        "annotations": annotations,
        "categories": [{"id": n, "name": str(n)} for n in (1, 3, 7)],
    }, said


def by_pycocotools(truth: dict, said: list[dict]) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    known = coco.COCO()
    known.dataset = json.loads(json.dumps(truth))
    known.createIndex()
    evaluation = COCOeval(known, known.loadRes(json.loads(json.dumps(said))), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [math.nan if value < 0 else value for value in evaluation.stats.tolist()]


def test_recorded_figures(shared_data):
    folder = shared_data / "scorers" / "detection"
    result = read_coco(shared_data / "coco_mini" / "val" / "instances.json", folder / "yolox_nano_preds.json")
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    figures = result.figures()
    wanted = expected["summary"] | {f"AP/{name}": value for name, value in expected["AP_per_category"].items()}
    assert len(wanted) > 60 and figures == pytest.approx(wanted, abs=1e-9)
    assert result.counts["predicted boxes"] == expected["n_predictions"]


@pytest.mark.parametrize("seed", range(3))
def test_pycocotools_agrees(seed):
    truth, said = scene(seed)
    figures = box_ap(truth, said).figures()
    assert [figures[name] for name in NAMES] == pytest.approx(by_pycocotools(truth, said), abs=1e-9)
    assert figures["AP"] == pytest.approx(np.mean([figures[f"AP/{name}"] for name in (1, 3, 7)]), abs=1e-12)


@pytest.mark.parametrize("times", [[3, 0, 1, 2, 0, 1], [0, 0, 0, 0, 4, 2], [1, 2, 1, 2, 1, 2]])
def test_a_resample_is_the_evaluation_of_its_images(times):
    """Scores have one digit, so that many are equal, in an image and over copies of it."""
    truth, said = scene(5)
    copies = [image for image, many in enumerate(times, 1) for _ in range(many)]
    again, told = [], []
    for new, old in enumerate(copies, 1):
        again += [record | {"image_id": new} for record in truth["annotations"] if record["image_id"] == old]
        told += [record | {"image_id": new} for record in said if record["image_id"] == old]
    again = [record | {"id": number} for number, record in enumerate(again, 1)]
    repeated = {**truth, "images": [{"id": new} for new in range(1, len(copies) + 1)], "annotations": again}
    figures = box_ap(truth, said).figures(np.array(times))
    assert box_ap(repeated, told).figures() == pytest.approx(figures, abs=1e-12, nan_ok=True)
    assert [figures[name] for name in NAMES] == pytest.approx(by_pycocotools(repeated, told), abs=1e-9, nan_ok=True)


def test_only_the_hundred_best_of_a_category_in_an_image_count():
    truth, said = scene(images=2)
    more = [said[place % len(said)] | {"score": round(0.001 * place, 3), "category_id": 3} for place in range(400)]
    figures = box_ap(truth, said + more).figures()
    assert [figures[name] for name in NAMES] == pytest.approx(by_pycocotools(truth, said + more), abs=1e-9, nan_ok=True)


def test_categories_go_by_their_names_if_these_are_unique():
    truth, said = scene()
    for name, category in zip(("dog", "cat", "hen"), truth["categories"]):
        category["name"] = name
    assert {"AP/dog", "AP/cat", "AP/hen"} <= box_ap(truth, said).figures().keys()
    truth["categories"][0]["name"] = "cat"
    assert {"AP/1", "AP/3", "AP/7"} <= box_ap(truth, said).figures().keys()
    truth["annotations"] = [record for record in truth["annotations"] if record["category_id"] != 3]
    assert "AP/3" not in box_ap(truth, said).figures()


def test_sizes_without_a_true_box_are_nan_with_the_reason():
    truth, said = scene()
    small = [record for record in truth["annotations"] if record["area"] < 32**2 and not record["iscrowd"]]
    truth["annotations"] = small or [truth["annotations"][0] | {"area": 20.0, "iscrowd": 0}]
    result = box_ap(truth, said)
    figures = result.figures()
    assert (
        {name for name, value in figures.items() if math.isnan(value)}
        == set(result.left_out)
        == {"APm", "APl", "ARm", "ARl"}
    )


def test_perfect_empty_and_resampled():
    truth, said = scene()
    for record in truth["annotations"]:
        record["iscrowd"] = 0
    perfect = [record | {"score": 1.0} for record in truth["annotations"]]
    assert box_ap(truth, perfect).figures()["AP"] == pytest.approx(1.0)
    assert set(box_ap(truth, []).figures().values()) == {0.0}
    order = np.random.default_rng(1).permutation(len(said))
    for place, record in enumerate(said):
        record["score"] = (place + 1) / len(said)  # no ties
    result = box_ap(truth, said)
    assert box_ap(truth, [said[place] for place in order]).figures() == pytest.approx(result.figures())
    low, high = result.intervals(resamples=10)["AP"]
    assert low <= high
    first = {**truth, "images": truth["images"][:1]}
    first["annotations"] = [record for record in truth["annotations"] if record["image_id"] == 1]
    alone = box_ap(first, [record for record in said if record["image_id"] == 1]).figures()
    assert result.figures(np.eye(6)[0]) == pytest.approx(alone, nan_ok=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bbox": [0, 0, math.nan, 1]}, "prediction 0: bbox"),
        ({"bbox": [0, 0, -1, 1]}, "prediction 0: bbox is -1 x 1"),
        ({"score": None}, "prediction 0: score"),
        ({"image_id": 99}, "prediction 0: image_id 99"),
        ({"category_id": 2}, "prediction 0: category_id 2"),
    ],
)
def test_bad_predictions_are_named(change, told):
    truth, said = scene(images=1)
    with pytest.raises(InputError, match=told):
        box_ap(truth, [said[0] | change])


def test_bad_truth_and_files_are_named(tmp_path):
    truth, said = scene(images=1)
    paths = tmp_path / "truth.json", tmp_path / "said.json"
    paths[1].write_text(json.dumps([said[0], said[1] | {"bbox": [1]}]))
    paths[0].write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"said\.json, record 1: bbox"):
        read_coco(*paths)
    truth["annotations"][2]["category_id"] = 5
    paths[0].write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"truth\.json: annotation 2: category_id 5"):
        read_coco(*paths)
    with pytest.raises(InputError, match="without 'images'"):
        box_ap({}, [])
