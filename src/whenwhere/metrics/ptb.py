"""Penn Treebank tokens as the COCO caption scorers see them: lower case, punctuation removed.

Published caption scores are computed on text that has passed through the Stanford ``PTBTokenizer`` (the Java program
that the ``pycocoevalcap`` package runs with ``-preserveLines -lowerCase``) and then lost its punctuation tokens. This
module gives the same tokens without Java. The rules were found from the outside, by running that program on word lists,
on every short string over small alphabets and on real text; ``tests/metrics/test_ptb.py`` compares again.

A token is the longest match of any rule at the current position; on a tie the earlier rule wins. A rule may look beyond
the token it takes (``don't`` is seen whole, ``do`` is taken): what it saw counts for the length.

Differences from the original, on purpose:

* Each caption stands alone. The original sees a file of captions, so the first word of the *next* caption decides
  whether a single letter before a final full stop keeps the stop ("on 12th Ave S." followed by "A man ...").
* Line breaks of any kind inside a caption are spaces. The original starts a new caption there and shifts the others.
* Letters that are younger than the original are words, and accented letters written as HTML entities fall apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from whenwhere.errors import InputError
from whenwhere.metrics import ptb_tables as tables

_PARENTHESES = str.maketrans({"(": "-lrb-", ")": "-rrb-"})
_SPACES_INSIDE = str.maketrans({" ": "\xa0"})
_CURLY = re.compile("[`‘‛‹’›“«”»‚„‟]{1,2}")
_CLITIC = re.compile(r"(n?)(?:['’`‘]|&apos;)(t|[dms]|ll|re|ve)")

# The common case, which needs no grammar: a word, perhaps one mark, then a space.
_PLAIN = re.compile(r"([A-Za-z]+)([,.]?)(?=[ ]|$)")
_NOT_PLAIN = frozenset(
    [
        *tables.TITLES,
        *tables.LOWER_TITLES,
        *tables.ABBREVIATIONS,
        *tables.LOWER_ABBREVIATIONS,
        *tables.CAPITALISED_ABBREVIATIONS,
        *tables.NUMBER_ABBREVIATIONS,
        *tables.SPLIT_WORDS,
    ]
)


class _Grammar(NamedTuple):
    """Rules in order of priority. Group 1 of a rule, where there is one, is the token; the rest it only looks at."""

    word_start: re.Pattern[str]
    words: list[re.Pattern[str]]  # tried where a letter or digit stands
    symbols: list[re.Pattern[str]]  # tried elsewhere


def tokenize(text: str) -> str:
    """Tokenise one caption the way the COCO scorers do.

    Args:
        text: a caption, as people write it.

    Returns:
        The tokens in lower case, joined by single spaces, without punctuation tokens; ``""`` if nothing is left. A
        token that held a space in the text (a phone number, "2 1/2") holds a no-break space, as in the original.

    Raises:
        InputError: if ``text`` is not a string.
    """
    if not isinstance(text, str):
        raise InputError(f"caption {text!r} of type {type(text).__name__}", "a string")
    return " ".join(filter(None, map(_spell, _tokens(text.translate(tables.REPAIR)))))


def _spell(token: str) -> str:
    """The token as the scorers see it, or ``""`` for punctuation."""
    token = token.lower()
    if token.isalpha():
        return token
    if _CURLY.fullmatch(token):
        token = token.translate(tables.QUOTES)
    if token in tables.SPELLING:
        return tables.SPELLING[token]
    if clitic := _CLITIC.fullmatch(token):
        mark = "`" if clitic[1] and token[1] in "`‘" else "'"
        return f"{clitic[1]}{mark}{clitic[2]}"
    if (token[0] == "<" and token[-1] == ">") or "@" in token or "://" in token:
        return token.translate(_SPACES_INSIDE)
    if "." not in token and "/" not in token:
        token = token.replace("&amp;", "&")
    return token.translate(_PARENTHESES).translate(_SPACES_INSIDE)


def _tokens(text: str) -> Iterator[str]:
    """Cut repaired text into raw tokens, dropping what lies between them."""
    position = 0
    while position < len(text):
        plain = _PLAIN.match(text, position)
        if plain and plain[1].lower() not in _NOT_PLAIN and not (plain[2] and len(plain[1]) == 1):
            yield plain[1]
            position = plain.end()
            continue
        if text[position] == " ":
            position += 1
            continue
        grammar = _grammar()
        rules = grammar.words if grammar.word_start.match(text, position) else grammar.symbols
        seen, taken = position, position
        for rule in rules:
            match = rule.match(text, position)
            if match and match.end() > seen:
                seen, taken = match.end(), match.end(match.lastindex or 0)
        if taken > position:
            yield text[position:taken]
        position = max(taken, position + 1)


@cache
def _word_letters() -> str:
    """The body of a character class: letters of the basic plane, and marks that continue a word."""
    mark = re.compile(f"[{tables.WORD_MARKS}]")
    spans: list[list[int]] = []
    for code in range(0x80, 0x10000):
        char = chr(code)
        if unicodedata.category(char)[0] == "L" or mark.match(char):
            if spans and spans[-1][1] == code - 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
    return "A-Za-z" + "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)


@cache
def _grammar() -> _Grammar:
    """Build the rules on first use (some tens of milliseconds)."""
    letter = f"[{_word_letters()}]"
    alnum = f"[{_word_letters()}\\d]"
    word = f"{alnum}+"
    end = f"(?!{alnum})"
    quote, apostrophe, entity = "['’]", "['’`‘]", "&apos;"
    clitic = r"(?:[dms]|ll|re|ve)"
    end_clitic = "(?![A-Za-z])"
    number = r"[+\-]?\d*(?:[.,:]\d+)+|[+\-]\d+"
    phone = r"(?:\(\d{2,3}\) ?|(?:\+\+?)?(?:\d{2,4}[\- ])?\d{2,4}[\- ])\d{3,4}[\- ]?\d{3,5}"
    dotted = rf"{letter}{alnum}*(?:[.!?]{letter}{alnum}*)+"
    piece = rf"(?:[dol]{apostrophe}{letter})?{word}"
    slashed = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
    local, domain = r"[^ \t\xa0\"<>|(){}]", r"[^ \t\xa0\"<>|(){}.]"
    email = rf"(?:<|&lt;)?[A-Za-z0-9]{local}*@(?:{domain}+\.)*{domain}+>?"
    path_end = r"[^ \t\xa0\"<>|.!?(){},\-]"
    bare_host = r"(?-i:[^ \t!\"$'(),\-./0-9:;<=>?@A-Z\[\\\]^_`{|}]+\.)+(?:com|net|org|edu)"
    www_host = r"www\.(?:[^ \t\"<>|.!?(){},]+\.)+[A-Za-z]{2,4}"
    address = rf"(?:{www_host}|{bare_host})(?:/[^ \t\"<>|()]+{path_end})?"
    name = r"[A-Za-z][A-Za-z0-9_:.\-]*"
    attribute = rf"{name}(?: *= *(?:\"[^\"]*\"|'[^']*'))?"

    def any_of(words: Iterable[str]) -> str:
        return "|".join(re.escape(entry) for entry in sorted(words, key=len, reverse=True))

    def capitalised(words: Iterable[str]) -> str:
        return "|".join(f"(?-i:{entry[0].upper()}){re.escape(entry[1:])}" for entry in words)

    def lower_tail(words: Iterable[str]) -> str:
        return "|".join(f"{entry[0]}(?-i:{entry[1:]})" for entry in words)

    closing = "|".join(
        [
            any_of(tables.ABBREVIATIONS),
            capitalised(tables.CAPITALISED_ABBREVIATIONS),
            lower_tail(tables.LOWER_ABBREVIATIONS),
        ]
    )
    words = [
        # contractions: the word, then what it was contracted with
        "|".join(rf"({head}){whole[len(head) :]}{end}" for whole, head in tables.SPLIT_WORDS.items()),
        rf"([A-Za-z]*(?!n)[A-Za-z])n(?:{apostrophe}|{entity})t",
        rf"({dotted}|{word})(?:{quote}|{entity}){clitic}{end_clitic}",
        rf"n(?:{apostrophe}|{entity})t",
        # words with an apostrophe inside: O'Brien, d'art, Hawai'i
        rf"(?-i:[A-HJ-XZdlno]){apostrophe}{letter}{{2,}}",
        rf"[dol]{apostrophe}{alnum}{alnum}+",
        rf"{letter}+[aeiouy]{apostrophe}(?-i:[aeiouA-Z]){letter}*",
        rf"{any_of(tables.APOSTROPHE_WORDS)}|cap’n|o{apostrophe}o",
        rf"(?:(?:[djl]|ol|dunkin|somethin){quote}|y{quote}(?={letter}))(?![dms]{letter})|(?:anti|pro)-",
        word,
        # words that own their full stop
        rf"((?:{closing})\.)(?:.|$)",
        rf"(?:{any_of(tables.TITLES)}|{lower_tail(tables.LOWER_TITLES)})\.",
        rf"((?:{any_of(tables.NUMBER_ABBREVIATIONS)})\.)\s?\d",
        r"(?:[A-Za-z]\.)+",
        rf"((?:{dotted}|{word}(?:[\-_]{word})*)\.)[,;:]",
        rf"({letter})\.\s+(?:{capitalised(tables.SENTENCE_STARTERS)})(?:\s|$)",
        # compounds: t-shirt, snow_board, U.S.-based, and/or, foo.bar, AT&T, US$, C++
        rf"{piece}(?:[\-_]{piece})+",
        r"[A-Za-z0-9][A-Za-z0-9.,]*(?:[\-‐‑](?:(?:[A-Za-z]\.){2,}|[A-Za-z0-9]+))+",
        rf"{slashed}(?:\\?/{slashed}){{1,2}}",
        dotted,
        rf"(?:{word}\.)+(?:{any_of(tables.FILE_EXTENSIONS)})(?=[\s.,!?]|$)",
        r"(?-i:[A-Z]+(?:(?:(?i:&amp;)|[&+])[A-Z]+)+|[A-Z]+\$)",
        r"c\+\+|[cf]#|x_[\^=~<>'\-]",
        # numbers: 3.5, 10:30, 2 1/2, 1/2/2012, 555-1212
        number,
        r"\d{1,2}[/\-]\d{1,2}[/\-]\d{2,4}|(?:\d{1,4}[\- ])?\d{1,4}/\d{1,4}",
        phone,
        # addresses
        rf"https?://[^ \t\"<>|(){{}}]+{path_end}",
        address,
        email,
    ]
    symbols = [
        rf"(?:'|{entity}){clitic}{end_clitic}|’{clitic}",
        r"('t)(?:is|was)",
        rf"{quote}n{quote}|’n|'n(?=\s|$)|{quote}(?:em|till?|cause|\d\d(?=\s|$)|[2-9]0s)",
        rf"<{name}(?: +{attribute})* */? *>|</{name} *>|<[!?][A-Za-z\-][^>]*>",
        email,
        address,
        r"[<>]?[:;=](?-i:[\-o*'])?(?:[()@\[\]{|\\]|(?-i:[DPOdp]))(?![A-Za-z0-9])",
        r"[\^x=~<>'\-]_[\^x=~<>'\-]|\([\^x=~<>'\-][_.\-]?[\^x=~<>'\-]\)",
        rf"@[A-Za-z_][A-Za-z0-9_]*|#{letter}+",
        number,
        phone,
        r"&(?:amp|lt|gt|quot|apos|nbsp|mdash|ndash|#\d+);",
        r"\.{3,5}|\.[ \xa0]\.[ \xa0]\.|[?!]+|-{2,}|_+|@+|#+|\*+|<<|>>|''|(?:\\\*)+|[¹²³⁰⁴-⁹⁺⁻]+|[₀-₉]+",
        _CURLY.pattern,
        rf"[{tables.SYMBOLS}]",
    ]
    return _Grammar(
        re.compile(alnum),
        [re.compile(rule, re.IGNORECASE) for rule in words],
        [re.compile(rule, re.IGNORECASE) for rule in symbols],
    )
