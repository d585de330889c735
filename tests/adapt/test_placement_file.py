"""A placement on disk comes back as it was, and a damaged one is refused with what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whenwhere.adapt.placement import PlacementConfig
from whenwhere.adapt.placement_file import Placement
from whenwhere.errors import InputError
from whenwhere.media import read_image


def example():
    scores = np.random.default_rng(0).random((7, 7))
    return Placement(7, ((3, 1), (0, 6), (2, 2)), "some-vit", scores, {"gamma": 0.6, "kinds": ["recurrent"]})


def test_a_saved_placement_comes_back_whole(tmp_path):
    one = example()
    one.save(tmp_path / "placement.json")
    again = Placement.load(tmp_path / "placement.json")
    assert (again.nodes, again.edges, again.backbone, again.settings) == (7, one.edges, "some-vit", one.settings)
    assert np.array_equal(again.scores, one.scores)
    data = json.loads((tmp_path / "placement.json").read_text())
    assert data["edges"][0] == {"from": 3, "to": 1, "kind": "recurrent"}
    Placement(7, ((1, 2),)).save(tmp_path / "bare.json")
    bare = Placement.load(tmp_path / "bare.json")
    assert bare.scores is None and bare.edges == ((1, 2),) and not bare.settings
    with pytest.raises(InputError, match="without scores"):
        bare.draw(tmp_path / "bare.png")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "other/1"}, "whenwhere.placement/1"),
        ({"nodes": 3}, "scores"),
        ({"nodes": 0}, "at least 1"),
        ({"edges": [{"from": 1, "to": 7, "kind": "long_range"}]}, "at most 6"),
        ({"edges": [{"from": 1, "to": 2, "kind": "recurrent"}]}, "called recurrent; expected parallel"),
        ({"edges": [{"from": 1, "to": 2, "kind": "sideways"}]}, "one of sequential"),
        ({"edges": [{"from": 1, "to": 2}]}, "kind"),
        ({"edges": [{"from": 1, "to": 2, "kind": "parallel"}] * 2}, "more than once"),
        ({"edges": "parallel"}, "a list"),
        ({"scores": [[1.0] * 7] * 6}, "a list of 7"),
        ({"scores": [["1"] * 7] * 7}, "finite number"),
        ({"settings": []}, "an object"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, said):
    example().save(tmp_path / "placement.json")
    data = json.loads((tmp_path / "placement.json").read_text())
    (tmp_path / "placement.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(InputError, match=said):
        Placement.load(tmp_path / "placement.json")


def test_a_placement_fits_nets_of_its_depth_alone(make_backbone):
    backbone = make_backbone("clip")  # 3 blocks
    assert example().config(backbone, rank=4) == PlacementConfig(edges=((3, 1), (0, 6), (2, 2)), rank=4)
    with pytest.raises(InputError, match="placement for 9 nodes.*which has 7"):
        Placement(9, ((8, 0),)).config(backbone)
    for bad in ({"edges": ((0, 7),)}, {"edges": ((0, 1),), "scores": np.zeros((6, 7))}):
        with pytest.raises(InputError):
            Placement(7, **bad)


def test_the_summary_says_edges_and_costs(make_backbone):
    lines = example().summary(make_backbone("clip"), rank=4).splitlines()
    assert lines[0].split() == ["node", "3", "to", "1", "recurrent", "score", f"{example().scores[3, 1]:g}"]
    assert lines[1].split()[4] == "long-range" and lines[2].split()[4] == "sequential"
    assert lines[3] == "3 adapters of rank 4: 876 trained numbers, head not counted"
    # an MLP and an attention of 6 sub-layers are run twice
    assert lines[4].startswith("forward cost 1.33 x the backbone, adapters ") and lines[4].endswith("% more")


def test_the_picture_frames_the_chosen_edges(tmp_path):
    chosen = example()
    none = Placement(7, (), scores=chosen.scores)
    one = read_image(chosen.draw(tmp_path / "one.png", title="a task")).astype(int)
    plain = read_image(none.draw(tmp_path / "plain.png", title="a task")).astype(int)
    rows, columns = np.nonzero((one != plain).any(-1))
    assert one.shape == plain.shape and len(rows)
    # frames at (3, 1), (0, 6) and (2, 2): from the first row of cells to the fourth, from the second column to the last
    cell = (columns.max() - columns.min()) / 6
    assert (rows.max() - rows.min()) / cell == pytest.approx(4, rel=0.15)
