"""Answers to the problems of ACRE by logic: what must light the machine, what cannot, and what is open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from whenwhere.datasets.acre import Panel, Problem
from whenwhere.errors import InputError

OFF, OPEN, ON = 0, 1, 2


def solve(context: Sequence[Panel], query: Iterable[int]) -> int:
    """Answer a query exactly.

    What is in a panel that is off cannot light the machine. What is left of a panel that is on must: alone if it is one
    object, else jointly, which is open for each of them but sure for all.

    Args:
        context: panels whose light is "on" or "off".
        query: ids of the objects that are put on the machine.

    Returns:
        0 off, 1 undetermined, 2 on.
    """
    asked = frozenset(query)
    idle = frozenset(thing for panel in context if panel.light == "off" for thing in panel.objects)
    causes = [frozenset(panel.objects) - idle for panel in context if panel.light == "on"]
    sure = frozenset(thing for cause in causes if len(cause) == 1 for thing in cause)
    if asked <= idle:
        return OFF
    if asked & sure or any(cause <= asked for cause in causes if not cause & sure):
        return ON
    return OPEN


def covariation(context: Sequence[Panel], query: Iterable[int]) -> int:
    """Answer a query by how often its objects went with the light: the rule that ACRE is made to defeat.

    Each object counts with the share of its panels that were on; the highest share decides: 1 is on, 0 is off, else
    undetermined. An object that no panel has counts 0.
    """
    shares = []
    for thing in query:
        seen = [panel.light == "on" for panel in context if thing in panel.objects]
        shares.append(Fraction(sum(seen), len(seen)) if seen else Fraction(0))
    best = max(shares, default=Fraction(0))
    return ON if best == 1 else OFF if best == 0 else OPEN


def check(problems: Iterable[Problem]) -> None:
    """Refuse problems that logic answers otherwise than their labels do: their files were changed or read wrongly.

    Raises:
        InputError: naming the first such query.
    """
    for problem in problems:
        for number, query in enumerate(problem.queries):
            answer = solve(problem.context, query.objects)
            if answer != query.label:
                raise InputError(
                    f"problem {problem.index} of {problem.split}, query {number}: label {query.label}",
                    f"{answer}, which follows from its context",
                )
