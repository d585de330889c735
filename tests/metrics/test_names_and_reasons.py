"""Entity scores, CATER and ACRE: worked numbers, what must hold, bad records."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.metrics.acre import acre
from whenwhere.metrics.cater import cater_cell, snitch_localisation
from whenwhere.metrics.entities import entities

A, B = ("Angela Merkel", "PERSON"), ("Paris", "GPE")


def test_worked_entities():
    figures = entities({"x": [A, A, B]}, {"x": [A]}).figures()
    assert figures["precision"] == pytest.approx(2 / 3) and figures["recall"] == 1.0
    assert figures["f1"] == pytest.approx(0.8)
    assert entities({"x": [("Paris", "ORG")]}, {"x": [B]}).figures()["precision"] == 0.0
    assert entities({"x": [("paris", "GPE")]}, {"x": [B]}).figures()["precision"] == 0.0
    empty = entities({"x": [], "y": [B]}, {"x": [A], "y": [B]})
    assert empty.figures()["precision"] == 1.0 and empty.figures()["recall"] == 0.5
    assert empty.counts["captions without a predicted entity"] == 1


def test_entities_are_counted_over_the_set():
    wrong = [(f"name {number}", "ORG") for number in range(9)]
    found = entities({"a": [A], "b": wrong}, {"a": [A], "b": []})
    assert found.figures()["precision"] == pytest.approx(0.1)
    assert found.figures(np.array([9, 1]))["precision"] == pytest.approx(0.5)


def test_entities_by_type():
    found = entities({"x": [A, ("Bonn", "GPE")]}, {"x": [A, B]})
    figures = found.figures()
    assert figures["PERSON_f1"] == 1.0 and figures["GPE_f1"] == 0.0
    assert "ORG_f1" not in figures and set(found.left_out) == {"ORG", "DATE"}


@pytest.mark.parametrize(
    ("said", "true", "aliases", "right"),
    [
        ("the White House", "White House's", None, 1.0),
        ("THE WHITE HOUSE", "a white  house", None, 1.0),
        ("the Beatles’", "Beatles", None, 1.0),
        ("USA", "United States", None, 0.0),
        ("the USA", "United States", {"USA": "Q30", "United States": "Q30"}, 1.0),
        ("USA", "Mexico", {"USA": "Q30", "Mexico": "Q96"}, 0.0),
        ("Theodore", "odore", None, 0.0),
    ],
)
def test_lenient_entities(said, true, aliases, right):
    figures = entities({"x": [(said, "ORG")]}, {"x": [(true, "ORG")]}, aliases=aliases).figures()
    assert figures["lenient_f1"] == right and figures["f1"] == 0.0


names = st.lists(st.tuples(st.sampled_from(["Ann", "Bob", "Rome"]), st.sampled_from(["PERSON", "GPE"])), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("xyz"), st.tuples(names, names), min_size=1))
def test_entities_in_any_order(captions):
    said, true = ({name: pair[side] for name, pair in captions.items()} for side in (0, 1))
    figures = entities(said, true).figures()
    shuffled = [{name: side[name][::-1] for name in reversed(side)} for side in (said, true)]
    assert entities(*shuffled).figures() == figures
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["f1"] <= figures["lenient_f1"]
    if any(true.values()):
        assert set(entities(true, true).figures().values()) == {1.0}
        assert set(entities({name: [] for name in true}, true).figures().values()) == {0.0}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"x": ["Paris"]}, "caption 'x', predicted entity 0: Paris"),
        ({"x": [("Paris", None)]}, "caption 'x', predicted entity 0"),
        ({"x": [("Paris", float("nan"))]}, "caption 'x', predicted entity 0"),
        ({"x": "Paris"}, "caption 'x', predicted entity: a str"),
        ({}, "no prediction for 1 of 1 ids, such as caption 'x'"),
    ],
)
def test_names_the_bad_entity(said, told):
    with pytest.raises(InputError, match=told):
        entities(said, {"x": [B]})


@pytest.mark.parametrize(
    ("place", "cell"), [((-3, -3), 0), ((2.999, 2.999), 35), ((0, 0), 21), ((-0.5, 0.2), 20), ((0.2, -0.5), 15)]
)
def test_cells_of_the_ground(place, cell):
    assert cater_cell(*place) == cell


def test_cells_of_other_grids():
    assert [cater_cell(2.999, 2.999, grid) for grid in (4, 6, 8)] == [15, 35, 63]
    assert cater_cell(-0.1, 1.6, 4) == 3 * 4 + 1
    for place in ((3, 0), (0, -3.1), (float("nan"), 0)):
        with pytest.raises(InputError, match="the place"):
            cater_cell(*place)


def one_hot(cell: int) -> list[float]:
    return [float(place == cell) for place in range(36)]


def test_snitch_localisation():
    truths = {f"v{cell:02}": cell for cell in range(36)}
    perfect = snitch_localisation({name: one_hot(cell) for name, cell in truths.items()}, truths).figures()
    assert perfect == {"top1": 1.0, "top5": 1.0, "L1": 0.0}
    # guessing every cell equally often, against every truth: chance
    pairs = {f"{guess:02}/{true:02}": (guess, true) for guess, true in itertools.product(range(36), repeat=2)}
    chance = snitch_localisation(
        {name: one_hot(guess) for name, (guess, _) in pairs.items()}, {name: true for name, (_, true) in pairs.items()}
    ).figures()
    assert chance["top1"] == pytest.approx(1 / 36)
    assert chance["L1"] == pytest.approx(35 / 9)
    centre = snitch_localisation({name: one_hot(14) for name in truths}, truths).figures()
    assert centre["L1"] == pytest.approx(3.0)
    undecided = snitch_localisation({name: [0.0] * 36 for name in truths}, truths).figures()
    assert undecided["top1"] == undecided["top5"] == 0.0
    five = [float(-(place > 4)) - place / 100 for place in range(36)]
    assert snitch_localisation(dict.fromkeys(truths, five), truths).figures()["top5"] == pytest.approx(5 / 36)


def test_snitch_localisation_by_hand():
    found = snitch_localisation({"a": one_hot(0), "b": one_hot(35)}, {"a": 8, "b": 35})
    assert found.figures() == {"top1": 0.5, "top5": 0.5, "L1": (1 + 2) / 2}
    assert found.figures(np.array([1, 3]))["top1"] == 0.75


@pytest.mark.parametrize(
    ("scores", "cell", "told"),
    [
        ([1.0] * 35, 3, "video 'v': scores"),
        ([float("nan")] * 36, 3, "video 'v': scores"),
        ([1.0] * 36, 36, "video 'v': cell 36"),
        ([1.0] * 36, 1.5, "video 'v': cell 1.5"),
    ],
)
def test_names_the_bad_video(scores, cell, told):
    with pytest.raises(InputError, match=told):
        snitch_localisation({"v": scores}, {"v": cell})


PROBLEM = [(2, "direct"), (2, "indirect"), (0, "screen_off"), (1, "potential")]


def test_worked_acre():
    truths = {"a": PROBLEM, "b": [(0, "direct"), (0, "direct"), (2, "direct"), (1, "potential")]}
    found = acre({"a": [2, 2, 0, 1], "b": [0, 0, 2, 0]}, truths)
    assert found.figures() == {
        "query": 7 / 8,
        "problem": 0.5,
        "direct": 1.0,
        "indirect": 1.0,
        "screen_off": 1.0,
        "potential": 0.5,
    }
    assert found.figures(np.array([0, 1]))["problem"] == 0.0
    assert np.isnan(found.figures(np.array([0, 1]))["screen_off"])
    assert "screen_off" in acre({"b": [0] * 4}, {"b": truths["b"]}).left_out


def test_guessing_at_acre():
    """Every way to answer a problem once: a third of the queries, 1 of 81 problems."""
    answers = {"".join(map(str, said)): said for said in itertools.product(range(3), repeat=4)}
    found = acre(answers, dict.fromkeys(answers, PROBLEM))
    assert found.figures()["query"] == pytest.approx(1 / 3)
    assert found.figures()["problem"] == pytest.approx(1 / 81)
    assert found.figures()["problem"] <= found.items["right"].mean(axis=0).min()
    assert set(acre({"a": [2, 2, 0, 1]}, {"a": PROBLEM}).figures().values()) == {1.0}
    assert set(acre({"a": [0, 0, 1, 2]}, {"a": PROBLEM}).figures().values()) == {0.0}


@pytest.mark.parametrize(
    ("said", "problem", "told"),
    [
        ([2, 2, 0], PROBLEM, "problem 'a', answers"),
        ([2, 2, 0, 3], PROBLEM, "problem 'a', answer 3: 3"),
        ([2, 2, 0, float("nan")], PROBLEM, "problem 'a', answer 3: nan"),
        ([2, 2, 0, 1], [*PROBLEM[:3], (1, "odd")], "problem 'a', query 3"),
        (
            [2, 2, 0, 1],
            [*PROBLEM[:3], (2, "potential")],
            "problem 'a', query 3: .*answer 2 to a query of type potential",
        ),
        ([2, 2, 0, 1], [(1, "direct"), *PROBLEM[1:]], "query 0: .*answer 1 .*0 or 2"),
    ],
)
def test_names_the_bad_problem(said, problem, told):
    with pytest.raises(InputError, match=told):
        acre({"a": said}, {"a": problem})
