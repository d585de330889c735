"""ACRE's files: what a world writes is read back, and what is malformed is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whenwhere.datasets.acre import AcreSet, decode_mask, encode_mask, read_problems, vocabulary, write_problems
from whenwhere.errors import InputError
from whenwhere.worlds.acre_logic import problem


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config" / "test.json"
    path.parent.mkdir()
    write_problems(path, [problem("iid", "test", index) for index in range(5)])
    return path


def test_problems_are_read_back_unchanged(config):
    assert read_problems(config, "test") == [problem("iid", "test", index) for index in range(5)]
    with pytest.raises(InputError, match="in this order"):
        write_problems(config, [problem("iid", "test", 3)])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data[3].pop(), r"\[3\] is .*a list of 10"),
        (lambda data: data[3][0].update(light_state="no"), r"\[3\]\[0\].light_state is 'no'; expected one of on, off"),
        (lambda data: data[3][0].update(objects=[48]), r"\[3\]\[0\].objects\[0\]"),
        (lambda data: data[3][0].update(objects=[]), r"\[3\]\[0\].objects"),
        (lambda data: data[3][6].update(type="screen_off", label=2), r"\[3\]\[6\].label is 2; expected 0"),
        (lambda data: data[3][6].update(type="blocked"), r"\[3\]\[6\].type is 'blocked'"),
        (lambda data: data[3][6].update(objects=[1, 2]), "one object in a query"),
        (lambda data: data[3][8].pop("ref"), r"\[3\]\[8\] has no 'ref'"),
        (lambda data: data[3][8].update(ref=6), r"\[3\]\[8\].ref"),
        (lambda data: data[3][8].update(objects=[47]), r"\[3\]\[8\].ref"),
    ],
)
def test_a_malformed_configuration_names_the_field(config, change, named):
    data = json.loads(config.read_text())
    change(data)
    config.write_text(json.dumps(data))
    with pytest.raises(InputError, match=named) as error:
        read_problems(config, "test")
    assert "test.json" in str(error.value)


def test_a_set_needs_its_pictures(config):
    with pytest.raises(InputError, match=r"ACRE_test_000000_00.png is missing"):
        AcreSet(config.parents[1], "test")


def test_what_the_ids_stand_for():
    words = vocabulary("iid", "train")
    assert len(words) == 48 and words[16 * 1 + 2 * 3 + 1] == ("cylinder", "green", "metal")
    train, test = vocabulary("comp", "train"), vocabulary("comp", "test")
    assert len(train) == len(test) == 24 and not set(train) & set(test) and set(train) | set(test) == set(words)
    assert train[0] == ("cube", "gray", "rubber") and train[8] == ("cylinder", "red", "rubber")
    assert train[16] == ("sphere", "gray", "rubber") and test[16] == ("sphere", "gray", "metal")
    for part in range(3):
        assert {word[part] for word in train} == {word[part] for word in words}
    with pytest.raises(InputError, match="regime 'ood'"):
        vocabulary("ood", "train")


def test_masks_run_along_the_rows():
    mask = np.array([[True, True, False], [False, True, False]])
    assert encode_mask(mask) == "0,2,2,1,1"
    assert np.array_equal(decode_mask("0,2,2,1,1", 2, 3), mask)
    for wrong in ("0,2,2", "0,-2,8", "a", ""):
        with pytest.raises(InputError):
            decode_mask(wrong, 2, 3)
