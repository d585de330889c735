"""Penn Treebank tokens as the COCO caption scorers see them: lower case, punctuation removed.

Published caption scores are computed on text that has passed through the Stanford ``PTBTokenizer`` (the Java program that
the ``pycocoevalcap`` package runs with ``-preserveLines -lowerCase``) and then lost its punctuation tokens. This module
gives the same tokens without Java. The rules were found from the outside, by running that program on word lists, on every
short string over small alphabets and on real text, and comparing; ``tests/metrics/test_ptb.py`` repeats the comparison.

A token is the longest match of any rule at the current position; on a tie the earlier rule wins. A rule may look beyond
the token it takes (``don't`` is seen whole, ``do`` is taken): what it saw counts for the length.

Differences from the original, on purpose:

* Each caption stands alone. The original sees a file of captions, so the first word of the *next* caption decides whether
  a single letter before a final full stop keeps the stop ("on 12th Ave S." followed by "A man ...").
* Line breaks of any kind inside a caption are spaces. The original starts a new caption there and shifts all that follow.
* Letters that are younger than the original are words, and accented letters written as HTML entities fall apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from whenwhere.errors import InputError

_PUNCTUATION = frozenset("'' ' `` ` . ? ! , : - -- ... ;".split())

# Words whose final full stop belongs to them: titles, which something follows, and words that may also end a sentence.
_TITLES = """
adj adm adv alex assoc asst atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft gen gov govs
hon insp invt jos lieut lt maj messrs mlle mme mr mrs ms msgr mt natl pfc ph pres prof profs pvt rep reps rev sen sens sfc
sgt spc st ste supt treas vs wm
""".split()
_ABBREVIATIONS = """
al ala apr ariz assn aug bancorp bhd bldg blvd bros calif co colo conn corp cos ct dak dec esq est etc ext feb fla fri ga
inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla ph.d ed.d penn plc rd rt sep
sept seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo
""".split()
_CAPITALISED_ABBREVIATIONS = "ark az del ill la mass miss ore pa tex wash".split()  # "Mass." but not "mass."
_LOWER_TITLES = "mfg mtg".split()  # "Mfg." but not "MFG."
_LOWER_ABBREVIATIONS = "ppte ppty pte ptes pty ptys".split()  # "Pty." but not "PTY."
_NUMBER_ABBREVIATIONS = "art ca fig figs no nos op pp prop".split()  # "no. 5" but not "no. Then"
# Before one of these, "plan b." ends a sentence; before other words it may be an initial.
_SENTENCE_STARTERS = """
A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Now Once One Other
Our She Since So Some Such That The Their Then There These They This We What When While Yet You
""".split()
_SPLIT_WORDS = {"cannot": "can", "gonna": "gon", "wanna": "wan", "gotta": "got", "lemme": "lem", "gimme": "gim"}
_APOSTROPHE_WORDS = "c'mon s'mores cap'n nat'l li'l hallowe'en ev'ry nor'easter e'er o'o".split()
_FILE_EXTENSIONS = """
bat bmp c cgi class cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py sql tar txt
wav x xml zip
""".split()

# Marks that continue a word, and symbols that are tokens. What is neither (emoji, controls, ...) separates words.
_WORD_MARKS = (
    "\u02c2-\u0375\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4-\u05c7\u0615-\u061a\u064b-\u065e\u0670\u06d6-\u06ed"
    "\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0903\u093c-\u094e\u0951-\u0955\u0962\u0963\u0981-\u09e3"
    "\u0a01-\u0a4d\u0a81-\u0acd\u0b82-\u0bcd\u0c01-\u0c03\u0c3e-\u0c56\u0d3e-\u0d48\u0e31-\u0e4e\u0eb1-\u0ecd"
)
_SYMBOLS = (
    "!-/:-@\\[-`{-~\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u037e\u0387\u0589\u05be"
    "\u05c0\u05c3\u05c6\u05f3\u05f4\u0600-\u0603\u0606-\u060c\u0614\u061b\u061e\u061f\u066a\u066d\u06d4\u0700-\u070d"
    "\u07f6-\u07f8\u0964\u0965\u0e3f\u0e4f\u1fbd\u2010-\u2023\u2026\u2030-\u203b\u203e-\u2042\u2044\u2070\u2074-\u207e"
    "\u2080-\u208e\u20a0\u20a4\u20ac\u2100\u2101\u2103-\u2106\u2108\u2109\u2114\u2116-\u2118\u211e-\u2123\u2125\u2127"
    "\u2129\u212e\u213a\u213b\u2140-\u2144\u214a-\u214d\u214f\u2153-\u215e\u2190-\u2bff\u3001\u3002\u3012\u30fb"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0\uffe1\uffe5\uffe6"
)

# Line breaks are spaces, punctuation of Windows-1252 arrives as control characters, soft hyphens are invisible.
_REPAIR = str.maketrans(
    {
        **dict.fromkeys("\n\r\v\f\x85\u2028\u2029", " "),
        **{"\x80": "€", "\x91": "‘", "\x92": "’", "\x93": "“", "\x94": "”", "\x96": "–", "\x97": "—", "\xad": None},
    }
)
# What a whole token is written as; "" is punctuation under another name.
_SPELLING = {
    **{"{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-", "€": "$", "¤": "$", "₠": "$", "£": "#", "¢": "cents"},
    **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "&amp;": "&", "&lt;": "<", "&gt;": ">"},
    **dict.fromkeys("\"…–—―‐‑", ""),
    **dict.fromkeys(["&quot;", "&apos;", "&nbsp;", "&mdash;", "&ndash;", "---", "----", "....", "....."], ""),
    **dict.fromkeys([". . .", ".\xa0.\xa0.", ".\xa0. .", ". .\xa0."], ""),
}
_PARENTHESES = str.maketrans({"(": "-lrb-", ")": "-rrb-"})
_SPACES_INSIDE = str.maketrans({" ": "\xa0"})
_QUOTES = str.maketrans(
    {**dict.fromkeys("`‘‛‹", "`"), **dict.fromkeys("’›", "'"), **dict.fromkeys("“«", "``"), **dict.fromkeys("”»", "''")}
)
_CURLY = re.compile("[`‘‛‹’›“«”»‚„‟]{1,2}")
_CLITIC = re.compile(r"(n?)(?:['’`‘]|&apos;)(t|[dms]|ll|re|ve)")

# The common case, which needs no grammar: a word, perhaps one mark, then a space.
_PLAIN = re.compile(r"([A-Za-z]+)([,.]?)(?=[ ]|$)")
_NOT_PLAIN = frozenset(
    [*_TITLES, *_LOWER_TITLES, *_ABBREVIATIONS, *_LOWER_ABBREVIATIONS, *_CAPITALISED_ABBREVIATIONS, *_NUMBER_ABBREVIATIONS]
    + [*_SPLIT_WORDS]
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
        The tokens in lower case, joined by single spaces, without punctuation tokens; ``""`` if nothing is left. A token
        that held a space in the text (a phone number, "2 1/2") holds a no-break space, as in the original.

    Raises:
        InputError: if ``text`` is not a string.
    """
    if not isinstance(text, str):
        raise InputError(f"a caption of type {type(text).__name__}", "a string", "convert it with str() or leave it out")
    return " ".join(filter(None, map(_spell, _tokens(text.translate(_REPAIR)))))


def tokenize_all(texts: Iterable[str]) -> list[str]:
    """Tokenise captions one by one; see :func:`tokenize`."""
    return [tokenize(text) for text in texts]


def _spell(token: str) -> str:
    """The token as the scorers see it, or ``""`` for punctuation."""
    token = token.lower()
    if token.isalpha():
        return token
    if _CURLY.fullmatch(token):
        token = token.translate(_QUOTES)
    if token in _PUNCTUATION:
        return ""
    if token in _SPELLING:
        return _SPELLING[token]
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
    mark = re.compile(f"[{_WORD_MARKS}]")
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
        return "|".join(f"(?-i:{entry[0].upper()}){entry[1:]}" for entry in words)

    def lower_tail(words: Iterable[str]) -> str:
        return "|".join(f"{entry[0]}(?-i:{entry[1:]})" for entry in words)

    closing = f"{any_of(_ABBREVIATIONS)}|{capitalised(_CAPITALISED_ABBREVIATIONS)}|{lower_tail(_LOWER_ABBREVIATIONS)}"
    words = [
        # contractions: the word, then what it was contracted with
        "|".join(rf"({head}){whole[len(head) :]}{end}" for whole, head in _SPLIT_WORDS.items()),
        rf"([A-Za-z]*(?!n)[A-Za-z])n(?:{apostrophe}|{entity})t",
        rf"({dotted}|{word})(?:{quote}|{entity}){clitic}{end_clitic}",
        rf"n(?:{apostrophe}|{entity})t",
        # words with an apostrophe inside: O'Brien, d'art, Hawai'i
        rf"(?-i:[A-HJ-XZdlno]){apostrophe}{letter}{{2,}}",
        rf"[dol]{apostrophe}{letter}{alnum}+",
        rf"{letter}+[aeiouy]{apostrophe}(?-i:[aeiouA-Z]){letter}*",
        any_of(_APOSTROPHE_WORDS).replace("'", apostrophe),
        rf"(?:[djl]|ol){quote}(?![dms]{letter})|y{quote}(?={letter})(?![dms]{letter})|(?:dunkin|somethin){quote}",
        word,
        # words that own their full stop
        rf"((?:{closing})\.)(?:.|$)",
        rf"(?:{any_of(_TITLES)}|{lower_tail(_LOWER_TITLES)})\.",
        rf"((?:{any_of(_NUMBER_ABBREVIATIONS)})\.)\s?\d",
        r"(?:[A-Za-z]\.)+",
        rf"((?:{dotted}|{word}(?:[\-_]{word})*)\.)[,;:]",
        rf"({letter})\.\s+(?:{capitalised(_SENTENCE_STARTERS)})(?:\s|$)",
        # compounds: t-shirt, snow_board, U.S.-based, and/or, foo.bar, AT&T, US$, C++
        rf"{piece}(?:[\-_]{piece})+",
        r"[A-Za-z0-9][A-Za-z0-9.,]*(?:[\-‐‑](?:(?:[A-Za-z]\.){2,}|[A-Za-z0-9]+))+",
        rf"{slashed}(?:\\?/{slashed}){{1,2}}",
        dotted,
        rf"(?:{word}\.)+(?:{any_of(_FILE_EXTENSIONS)})(?=[\s.,!?]|$)",
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
        r"[<>]?[:;=][\-o*']?(?:[()@\[\]{|\\]|(?-i:[DPOdp]))(?![A-Za-z0-9])",
        r"[\^x=~<>'\-]_[\^x=~<>'\-]|\([\^x=~<>'\-][_.\-]?[\^x=~<>'\-]\)",
        rf"@[A-Za-z_][A-Za-z0-9_]*|#{letter}+",
        number,
        phone,
        r"&(?:amp|lt|gt|quot|apos|nbsp|mdash|ndash|#\d+);",
        r"\.{3,5}|\.[ \xa0]\.[ \xa0]\.|[?!]+|-{2,}|_+|@+|#+|\*+|<<|>>|''|(?:\\\*)+|[¹²³⁰⁴-⁹⁺⁻]+|[₀-₉]+",
        _CURLY.pattern,
        rf"[{_SYMBOLS}]",
    ]
    return _Grammar(
        re.compile(alnum),
        [re.compile(rule, re.IGNORECASE) for rule in words],
        [re.compile(rule, re.IGNORECASE) for rule in symbols],
    )
