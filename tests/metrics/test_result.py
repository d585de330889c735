"""What all scorers hand back: weights, intervals, and files whose records know their place."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.metrics.bleu import bleu
from whenwhere.metrics.caption_files import caption_result, score_dense_captions
from whenwhere.metrics.files import read_json, read_records
from whenwhere.metrics.records import numbers
from whenwhere.metrics.result import Result, weighted_mean
from whenwhere.metrics.rouge import rouge_l

SAID = ["a dog runs in the park", "a red bus on a street", "two people eat at a table"]
WANTED = [["the dog is running in a park"], ["a bus", "a red bus drives on the street"], ["people sit at a table"]]


def mean_of(values) -> Result:
    table = np.array(values, dtype=np.float64)
    ids = tuple(map(str, range(len(table))))
    return Result("a mean", ids, {"x": table}, {}, lambda weights: {"mean": float(weighted_mean(table, weights))})


def test_intervals_of_a_mean():
    """Of 400 values with standard deviation 1 the mean has a standard error of 1/20."""
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std()
    low, high = mean_of(values).intervals(seed=1)["mean"]
    assert low == pytest.approx(-1.96 / 20, abs=0.012) and high == pytest.approx(1.96 / 20, abs=0.012)
    assert mean_of(values).intervals(seed=1)["mean"] == (low, high)
    assert mean_of(values).intervals(seed=2)["mean"] != (low, high)
    wide = mean_of(values).intervals(level=0.99)["mean"]
    assert wide[0] < low < high < wide[1]
    for few in ([], [3.0]):
        with pytest.raises(InputError, match=rf"an interval of {len(few)} items?, which is not defined"):
            mean_of(few).intervals(resamples=2)


def test_intervals_pass_over_sets_without_a_value():
    low, high = mean_of([np.nan, 1.0, np.nan]).intervals(resamples=50)["mean"]
    assert low == high == 1.0
    assert "mean" not in mean_of([np.nan, np.nan]).intervals(resamples=5)


@pytest.mark.parametrize("weights", [[1.0], [1, 2, -1], [1, 1, 0.5], [1, 1, float("nan")]])
def test_weights_are_whole_numbers_for_every_item(weights):
    with pytest.raises(InputError, match="for 3 items"):
        mean_of([1, 2, 3]).figures(np.array(weights))


@pytest.mark.parametrize("options", [{"resamples": 0}, {"level": 1.0}, {"level": float("nan")}])
def test_options_of_intervals(options):
    with pytest.raises(InputError, match="resamples"):
        mean_of([1, 2, 3]).intervals(**options)


def test_captions_of_a_resample():
    found = caption_result(["a", "b", "c"], SAID, WANTED)
    weighted = found.figures(np.array([2, 0, 1]))
    repeated = [0, 0, 2]
    said, wanted = [SAID[row] for row in repeated], [WANTED[row] for row in repeated]
    assert weighted["Bleu_2"] == pytest.approx(bleu(said, wanted).corpus[1])
    assert weighted["ROUGE_L"] == pytest.approx(rouge_l(said, wanted).corpus)
    assert weighted["CIDEr"] == pytest.approx((2 * found.items["CIDEr"][0] + found.items["CIDEr"][2]) / 3)


def test_where_meteor_goes(tmp_path):
    """Any scorer of tokenised captions fits; here it is ROUGE-L, whose figures are known."""
    found = caption_result(["a", "b", "c"], SAID, WANTED, rouge_l)
    figures = found.figures()
    assert figures["METEOR"] == figures["METEOR_mean"] == figures["ROUGE_L"]
    assert "METEOR" not in found.figures(np.array([2, 0, 1]))
    (tmp_path / "gt.json").write_text(json.dumps({"v": {"timestamps": [[0, 9]], "sentences": ["a dog runs"]}}))
    (tmp_path / "pred.json").write_text(json.dumps({"results": {"v": [{"timestamp": [0, 8], "sentence": "the dog"}]}}))
    dense = score_dense_captions([tmp_path / "gt.json"], tmp_path / "pred.json", rouge_l).figures()
    assert dense["METEOR"] == dense["ROUGE_L"] > 0


@pytest.mark.parametrize(
    ("value", "shape", "fits"),
    [
        ([], (None, 3), True),
        ([[1, 2, 3]], (None, 3), True),
        ([1.5, 2], (2,), True),
        ([], (2,), False),
        ([[1, 2], [3]], (None, 2), False),
        ([True, False], (2,), False),
        ([1, True], (2,), False),
        (["1", "2"], (2,), False),
        ([10**400, 1], (2,), False),
        ([float("inf"), 1], (2,), False),
        ({"a": 1}, (None,), False),
        (None, (None, 3), False),
        ("", (None,), False),
    ],
)
def test_numbers(value, shape, fits):
    if fits:
        found = numbers(value, "here", shape)
        assert found.dtype == np.float64 and found.ndim == len(shape)
    else:
        with pytest.raises(InputError, match="here: "):
            numbers(value, "here", shape)


def test_records_know_their_place(tmp_path):
    lines = tmp_path / "a.jsonl.gz"
    lines.write_bytes(gzip.compress(b'\xef\xbb\xbf{"x": 1}\n\n{"x": 2}\n'))
    assert [(dict(record), record.place) for record in read_records(lines)] == [
        ({"x": 1}, f"{lines}, line 1"),
        ({"x": 2}, f"{lines}, line 3"),
    ]
    named, several = tmp_path / "b.json", tmp_path / "c.json"
    named.write_text('{"items": [{"x": 1}], "more": 2}')
    assert read_records(named, "items")[0].place == f"{named}, record 0"
    several.write_text('{"x": 1}\n{"x": 2}\n')
    assert [record["x"] for record in read_records(several, "items")] == [1, 2]
    with pytest.raises(InputError, match="an object with 'items', 'more'"):
        named.write_text('{"items": [{"x": 1}],\n "more": 2}')
        read_records(named, "annotations")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1,\n "b": [2,\n -Infinity]}', "line 3: -Infinity; expected finite numbers"),
        ('{"a": "NaN, NaN",\n "b": NaN}', "NaN; expected finite numbers"),
        ('{"a": 1,\n "b": }', "line 2: not JSON"),
        ('{"a": {"b": 1, "b": 2}}', "'b' twice in one object"),
        ("", "line 1: not JSON"),
    ],
)
def test_documents_that_are_refused(tmp_path, text, told):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(InputError, match=told):
        read_json(file)
