"""Words as METEOR 1.5 sees them (its option ``-norm``): quotes unified, punctuation split off, lower case.

The rules were found from the outside, by running the program on short strings over small alphabets. They run after
:func:`whenwhere.metrics.ptb.tokenize` too, where they split what it keeps together (``n't`` is ``n 't``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# What counts as a letter: Latin up to Latin Extended-A, Cyrillic, phonetic extensions.
_LETTER = "A-Za-zÀ-ÖØ-öø-žЀ-ԧᴀ-ᵿⷠ-ⷿꙀ-ꚟ"
_SPACE = " \\t\\n\\x0b\\f\\r"
_CONTROL = "".join(map(chr, range(33)))  # stripped from the ends

# In this order, each once from left to right: overlapping places are not found again.
_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[‘’`]", "'"),
        ("''", '"'),
        ("[“”]", '"'),
        ("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]", " "),
        (rf"([^{_LETTER}0-9{_SPACE}.'`,\-])", r" \1 "),
        ("–", "-"),
        (r"(\.{2,})", r" \1 "),
        (r"([^0-9]),([^0-9])", r"\1 , \2"),
        (r"([0-9]),([^0-9])", r"\1 , \2"),
        (r"([^0-9]),([0-9])", r"\1 , \2"),
        (rf"([^{_LETTER}])'([^{_LETTER}])", r"\1 ' \2"),
        (rf"([^{_LETTER}0-9])'([{_LETTER}])", r"\1 ' \2"),
        (rf"([{_LETTER}])'([^{_LETTER}])", r"\1 ' \2"),
        (rf"([{_LETTER}])'([{_LETTER}])", r"\1 '\2"),
        ("([0-9])'(s)", r"\1 '\2"),
        ("--", "-"),
        (rf"([{_LETTER}0-9.])-([{_LETTER}0-9])", r"\1 \2"),
    )
]
_WITH_LETTER = re.compile(f"[{_LETTER}]")
_PLAIN = re.compile("[a-z0-9 ]*")


def normalise(text: str, prefixes: Mapping[str, bool]) -> list[str]:
    """Split a caption into the words that METEOR compares.

    Args:
        text: a caption, tokenised or as written.
        prefixes: words that own the full stop after them (``Mr``); True for those that do before a number only.

    Returns:
        Words in lower case, punctuation as words of its own; empty if there is none.
    """
    if _PLAIN.fullmatch(text):  # most captions
        return text.split()
    text = f" {text.strip(_CONTROL)} "
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    words = [word for word in re.split("[ \\t\\n\\r\\f]+", text) if word]
    return (
        " ".join(_full_stop(word, following, prefixes) for word, following in zip(words, [*words[1:], ""]))
        .lower()
        .split(" ")
        if words
        else []
    )


def _full_stop(word: str, following: str, prefixes: Mapping[str, bool]) -> str:
    """The word with its final stop kept, split off, or (in ``U.S.``) taken out with the stops inside."""
    head = word[:-1]
    if not word.endswith(".") or not word.strip("."):
        return word
    if "." in head and _WITH_LETTER.search(head):
        return word.replace(".", "")
    before_number = prefixes.get(head)
    if before_number is False or following[:1].islower() or (before_number and following[:1].isdigit()):
        return word
    return f"{head} ."
