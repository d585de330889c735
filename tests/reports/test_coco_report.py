"""COCO: run-length coding and polygons against pycocotools' published behaviour, round trips, refusals."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.reports import coco
from whenwhere.results import MediaRef, Region, rle


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    density = draw(st.sampled_from([0, 0.02, 0.5, 0.98, 1]))
    return np.random.default_rng(draw(st.integers(0, 2**32))).random((height, width)) < density


@given(masks())
def test_rle_round_trip(mask):
    counts = rle.encode(mask)
    assert sum(counts) == mask.size
    assert rle.decompress(rle.compress(counts)) == counts
    assert np.array_equal(rle.decode(counts, *mask.shape), mask)
    assert np.array_equal(rle.from_coco(rle.to_coco(mask)), mask)
    assert np.array_equal(rle.from_coco({"size": mask.shape, "counts": counts}), mask)


@given(masks())
def test_compressed_rle_is_that_of_pycocotools(mask):
    oracle = pytest.importorskip("pycocotools.mask", reason="pycocotools is the independent reference here")
    coded = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.to_coco(mask) == {"size": list(coded["size"]), "counts": coded["counts"].decode()}


def test_compressed_rle_by_hand():
    # Columns of the mask below, top to bottom: 0 1 | 1 0 | 0 0 | 1 1 -> runs 1, 2, 3, 2; the fourth is written as 2 - 2
    mask = np.array([[0, 1, 0, 1], [1, 0, 0, 1]], bool)
    assert rle.encode(mask) == [1, 2, 3, 2]
    assert rle.compress([1, 2, 3, 2]) == "1230"
    assert rle.compress([0, 1000]) == "0Xo0"  # 1000 = 31 * 32 + 8: 8 with the "more" bit is 'X', 31 'o', 0 ends it
    assert rle.decompress("0Xo0") == [0, 1000]


@given(st.text() | st.text(alphabet=[chr(c) for c in range(48, 112)]), st.integers(1, 50), st.integers(1, 50))
def test_any_counts_give_a_mask_or_an_input_error(counts, height, width):
    with contextlib.suppress(InputError):
        assert rle.from_coco({"size": [height, width], "counts": counts}).shape == (height, width)


@pytest.mark.parametrize(
    ("coded", "message"),
    [
        ({"size": [2, 2], "counts": [2, 1]}, "do not add up"),
        ({"size": [2, 2], "counts": [5, -1]}, "do not add up"),
        ({"size": [2, 2], "counts": [2**62, 2**62, 2**62, 2**62, 4]}, "do not add up"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "dtype float64"),
        ({"size": [2, 2], "counts": "P"}, "middle of a number"),
        ({"size": [2, 2], "counts": "oooooooooooooo0"}, "more than 60 bits"),
        ({"size": [2, 2], "counts": "é"}, "character 'é'"),
        ({"size": [0, 2], "counts": ""}, "mask height is 0"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "at most 134217728 pixels"),
        ({"size": "22", "counts": "4"}, "[height, width]"),
        ([], "malformed"),
    ],
)
def test_bad_rle_is_refused(coded, message):
    with pytest.raises(InputError) as error:
        rle.from_coco(coded)
    assert message in str(error.value)


def test_polygon_of_a_rectangle_is_exact():
    mask = coco.polygon_mask([[1, 2, 5, 2, 5, 6, 1, 6]], 8, 8)
    expected = np.zeros((8, 8), bool)
    expected[2:6, 1:5] = True
    assert np.array_equal(mask, expected)


def test_polygons_unite_and_leave_the_frame_unharmed():
    square, hanging_out = [0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 90, 2, 90, 90, 2, 90]
    mask = coco.polygon_mask([square, hanging_out], 6, 6)
    assert mask.sum() == 16 + 16 - 4
    assert coco.polygon_mask([[-9, -9, -1, -9, -5, -1]], 6, 6).sum() == 0


def test_polygon_masks_agree_with_pycocotools():
    oracle = pytest.importorskip("pycocotools.mask", reason="pycocotools is the independent reference here")
    rng = np.random.default_rng(0)
    for _ in range(50):
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 20)))
        radii = rng.uniform(20, 90, len(angles))
        points = np.stack([100 + radii * np.cos(angles), 100 + radii * np.sin(angles)], 1)
        ours = coco.polygon_mask([points.reshape(-1)], 200, 220)
        theirs = oracle.decode(oracle.frPyObjects([points.reshape(-1).tolist()], 200, 220))[..., 0].astype(bool)
        # pycocotools rounds the outline on a grid five times finer, so a pixel in ten along the outline may differ
        outline = np.linalg.norm(points - np.roll(points, 1, 0), axis=1).sum()
        assert (ours ^ theirs).sum() <= 0.12 * outline
        assert (ours & theirs).sum() >= 0.98 * (ours | theirs).sum()


@st.composite
def pictures(draw):
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    regions = []
    for _ in range(draw(st.integers(0, 3))):
        x, y = (sorted(draw(st.tuples(st.floats(0, n, width=32), st.floats(0, n, width=32)))) for n in (width, height))
        mask = draw(st.none() | st.just(np.random.default_rng(draw(st.integers(0, 99))).random((height, width)) < 0.5))
        score, time = draw(st.none() | st.floats(0, 1)), draw(st.none() | st.floats(0, 1e6))
        regions.append(Region([x[0], y[0], x[1], y[1]], draw(st.text()), score, mask, time))
    return coco.Picture(MediaRef(draw(st.text()), None, width, height), regions, draw(st.lists(st.text(), max_size=2)))


@given(st.lists(pictures(), max_size=3))
def test_coco_round_trip(made):
    assert_same(coco.parse(json.dumps(coco.instances(made), allow_nan=False)), made, "regions")
    assert_same(coco.parse(coco.captions(made)), made, "captions")


def assert_same(after, before, field):
    assert [picture.id for picture in after] == list(range(1, len(before) + 1))
    assert [picture.media for picture in after] == [picture.media for picture in before]
    for new, old in zip(after, before):
        if field == "captions":
            assert new.captions == old.captions
            continue
        for after, before in zip(new.regions, old.regions, strict=True):
            np.testing.assert_allclose(after.box, before.box, rtol=1e-6, atol=1e-6)  # x + width rounds in the last bit
            assert replace(after, box=before.box) == before


def test_instances_as_other_tools_read_them(tmp_path):
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    picture = coco.Picture(
        MediaRef("a.jpg", None, 6, 4), [Region([2, 1, 5, 3], "dog", 0.5, mask), Region([0, 0, 1, 1.5], "cat")], id=7
    )
    coco.write_instances([picture, coco.Picture(MediaRef("b.jpg", None, 6, 4))], tmp_path / "instances.json")
    data = json.loads((tmp_path / "instances.json").read_text())
    assert [image["id"] for image in data["images"]] == [7, 1]
    assert data["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    dog, cat = data["annotations"]
    assert (dog["bbox"], dog["area"], dog["score"], dog["category_id"]) == ([2, 1, 3, 2], 6, 0.5, 2)
    assert (cat["bbox"], cat["area"], cat["iscrowd"]) == ([0, 0, 1, 1.5], 1.5, 0)
    assert coco.read(tmp_path / "instances.json")[0] == picture

    oracle = pytest.importorskip("pycocotools.coco", reason="pycocotools is the independent reference here")
    read = oracle.COCO(tmp_path / "instances.json")
    assert np.array_equal(read.annToMask(read.loadAnns([1])[0]).astype(bool), mask)


def test_captions_file(tmp_path):
    picture = coco.Picture(MediaRef("a.jpg", None, 6, 4), captions=["a dog", "ein Hünd"])
    coco.write_captions([picture], tmp_path / "captions.json")
    assert coco.read(tmp_path / "captions.json")[0].captions == ("a dog", "ein Hünd")


def test_polygons_crowds_and_missing_boxes_are_read():
    data = {
        "info": {"year": 2017},
        "licenses": [],
        "images": [{"id": 3, "file_name": "a.jpg", "width": 6, "height": 4, "coco_url": "http://..."}],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 18, "iscrowd": 0, "segmentation": [[2, 1, 5, 1, 5, 3, 2, 3]]},
            {
                "id": 2,
                "image_id": 3,
                "category_id": 18,
                "segmentation": {"size": [4, 6], "counts": [4, 2, 18]},
                "bbox": [1, 0, 1, 2],
            },
            {"id": 3, "image_id": 3, "category_id": 18, "segmentation": [], "bbox": [0, 0, 2, 2]},
        ],
    }
    (picture,) = coco.parse(data)
    assert [region.box.tolist() for region in picture.regions] == [[2, 1, 5, 3], [1, 0, 2, 2], [0, 0, 2, 2]]
    assert [None if region.mask is None else int(region.mask.sum()) for region in picture.regions] == [6, 2, None]


IMAGE = {"id": 1, "file_name": "a.jpg", "width": 6, "height": 4}
ANNOTATION = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 3}, "images of the COCO file is 3"),
        ({"images": [IMAGE, IMAGE]}, "two images have the id 1"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}]}, "media.width is None"),
        ({"images": [{**IMAGE, "id": "1"}]}, "id of image is '1'"),
        ({"categories": [{"id": 1}]}, "category name is None"),
        ({"annotations": [{**ANNOTATION, "image_id": 2}]}, "annotation 9: image_id is 2"),
        ({"annotations": [{**ANNOTATION, "category_id": 2}]}, "annotation 9: category_id is 2"),
        ({"annotations": [{**ANNOTATION, "bbox": [0, 0, -1, 2]}]}, "annotation 9: bbox is -1 x 2"),
        ({"annotations": [{**ANNOTATION, "bbox": [0, 0, 2]}]}, "annotation 9: bbox has shape (3,)"),
        ({"annotations": [{"image_id": 1, "category_id": 1}]}, "annotation 0: it has neither box nor mask"),
        ({"annotations": [{**ANNOTATION, "caption": 3}]}, "annotation 9: caption is 3"),
        ({"annotations": [{**ANNOTATION, "segmentation": [[1, 2, 3, 4]]}]}, "polygon has 4 numbers"),
        ({"annotations": [{**ANNOTATION, "segmentation": [[1, 2, 3, 4, 1e300, 6]]}]}, "polygon reaches 1e+300"),
        ({"annotations": [{**ANNOTATION, "segmentation": {"size": [6, 4], "counts": [24]}}]}, "mask is 4 x 6"),
        ({"annotations": [{**ANNOTATION, "score": "high"}]}, "region.score is 'high'"),
    ],
)
def test_malformed_coco_is_refused(change, message):
    data = {"images": [IMAGE], "categories": [{"id": 1, "name": "dog"}], "annotations": [ANNOTATION]}
    assert len(coco.parse(data)[0].regions) == 1
    with pytest.raises(InputError) as error:
        coco.parse({**data, **change})
    assert message in str(error.value)


json_values = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["bbox", "segmentation", "score", "time", "category_id", "image_id", "caption"]))
def test_any_value_gives_pictures_or_an_input_error(value, field):
    for annotations in ([{**ANNOTATION, field: value}], [value], value):
        with contextlib.suppress(InputError):
            coco.parse({"images": [IMAGE], "categories": [{"id": 1, "name": "dog"}], "annotations": annotations})


def test_pictures_with_the_same_id_are_refused():
    with pytest.raises(InputError, match="same id"):
        coco.instances([coco.Picture(MediaRef("a", None, 1, 1), id=1)] * 2)
