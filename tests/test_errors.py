"""The error types: what they say, what they are, and that they survive a trip between processes."""

from __future__ import annotations

import copy

import pytest

from whenwhere.errors import InputError, MediaError, MissingDependency, WeightsError, WhenwhereError

ALL = (WhenwhereError, InputError, MediaError, WeightsError, MissingDependency)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.mp4 is empty",), "a.mp4 is empty"),
        (("rate 0", "a rate above 0"), "rate 0; expected a rate above 0"),
        (("no torch", "", "run: pip"), "no torch; run: pip"),
        (("x", "y", "z"), "x; expected y; z"),
    ],
)
@pytest.mark.parametrize("kind", ALL)
def test_the_message_says_what_was_given_expected_and_to_do(kind, arguments, message):
    error = kind(*arguments)
    assert str(error) == message
    assert (error.given, error.expected, error.todo) == (*arguments, "", "")[:3]


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InputError, ValueError),
        (MediaError, InputError),
        (WeightsError, RuntimeError),
        (MissingDependency, ImportError),
    ],
)
def test_each_is_also_the_error_that_python_users_expect(kind, builtin):
    assert issubclass(kind, builtin) and issubclass(kind, WhenwhereError)


@pytest.mark.parametrize("kind", ALL)
def test_copies_keep_type_and_message(kind):
    """Workers of a data loader send an error home by building it again from its message."""
    error = kind("given", "expected", "do")
    assert str(copy.copy(error)) == str(error) == str(kind(str(error)))
    assert type(copy.copy(error)) is kind
