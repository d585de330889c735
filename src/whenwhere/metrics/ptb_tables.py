"""The word lists and character classes of :mod:`whenwhere.metrics.ptb`."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Words whose final full stop belongs to them: titles, which something follows, and words that may also end a sentence.
TITLES = _words("""
adj adm adv alex assoc asst atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft gen gov govs
hon insp invt jos lieut lt maj messrs mlle mme mr mrs ms msgr mt natl pfc ph pres prof profs pvt rep reps rev sen sens
sfc sgt spc st ste supt treas vs wm
""")
LOWER_TITLES = _words("mfg mtg")  # "Mfg." but not "MFG."
ABBREVIATIONS = _words("""
al ala apr ariz assn aug bancorp bhd bldg blvd bros calif co colo conn corp cos ct dak dec ed.d esq est etc ext feb fla
fri ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla penn ph.d plc rd rt
sep sept seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo
""")
LOWER_ABBREVIATIONS = _words("ppte ppty pte ptes pty ptys")  # "Pty." but not "PTY."
CAPITALISED_ABBREVIATIONS = _words("ark az del ill la mass miss ore pa tex wash")  # "Mass." but not "mass."
NUMBER_ABBREVIATIONS = _words("art ca fig figs no nos op pp prop")  # "no. 5" but not "no. Then"

# Before one of these, "plan b." ends a sentence; before other words it may be an initial.
SENTENCE_STARTERS = _words("""
A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Now Once One Other
Our She Since So Some Such That The Their Then There These They This We What When While Yet You Mr. Ms.
""")
SPLIT_WORDS = {"cannot": "can", "gonna": "gon", "wanna": "wan", "gotta": "got", "lemme": "lem", "gimme": "gim"}
APOSTROPHE_WORDS = _words("c'mon s'mores cap'n nat'l li'l ev'ry nor'easter e'er")  # only with the straight one
FILE_EXTENSIONS = _words("""
bat bmp c cgi class cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py sql tar
txt wav x xml zip
""")

# Marks that continue a word, and symbols that are tokens. What is neither (emoji, controls, ...) separates words.
WORD_MARKS = (
    "\u02c2-\u0375\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670"
    "\u06d6-\u06ed\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0903\u093c-\u094e\u0951-\u0955\u0962\u0963"
    "\u0981-\u09e3\u0a01-\u0a4d\u0a81-\u0acd\u0b82-\u0bcd\u0c01-\u0c03\u0c3e-\u0c56\u0d3e-\u0d48\u0e31-\u0e3a\u0e40-\u0e4e"
    "\u0eb1-\u0ecd"
)
SYMBOLS = (
    "!-/:-@\\[-`{-~\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u037e\u0387\u0589"
    "\u05be\u05c0\u05c3\u05c6\u05f3\u05f4\u0600-\u0603\u0606-\u060c\u0614\u061b\u061e\u061f\u066a\u066d\u06d4"
    "\u0700-\u070d\u07f6-\u07f8\u0964\u0965\u0e3f\u0e4f\u1fbd\u2010-\u2023\u2026\u2030-\u203b\u203e-\u2042\u2044"
    "\u2070\u2074-\u207e\u2080-\u208e\u20a0\u20a4\u20ac\u2100\u2101\u2103-\u2106\u2108\u2109\u2114\u2116-\u2118"
    "\u211e-\u2123\u2125\u2127\u2129\u212e\u213a\u213b\u2140-\u2144\u214a-\u214d\u214f\u2153-\u215e\u2190-\u2bff"
    "\u3001\u3002\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0\uffe1\uffe5\uffe6"
)

# Line breaks are spaces, punctuation of Windows-1252 arrives as control characters, soft hyphens are invisible.
REPAIR = str.maketrans(
    {
        **dict.fromkeys("\n\r\v\f\x85\u2028\u2029", " "),
        **{"\x80": "€", "\x91": "‘", "\x92": "’", "\x93": "“", "\x94": "”", "\x96": "–", "\x97": "—", "\xad": None},
    }
)

# How the scorers see a token that is punctuation ("") or that is respelled.
SPELLING = {
    **dict.fromkeys(_words("'' ' `` ` . ? ! , : - -- --- ---- ... .... ..... ; \" … – — ― ‐ ‑"), ""),
    **dict.fromkeys([". . .", ".\xa0.\xa0.", ".\xa0. .", ". .\xa0."], ""),
    **dict.fromkeys(["&quot;", "&apos;", "&nbsp;", "&mdash;", "&ndash;"], ""),
    **{"{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-", "&amp;": "&", "&lt;": "<", "&gt;": ">"},
    **{"€": "$", "¤": "$", "₠": "$", "£": "#", "¢": "cents"},
    **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"},
}
QUOTES = str.maketrans(
    {**dict.fromkeys("`‘‛‹", "`"), **dict.fromkeys("’›", "'"), **dict.fromkeys("“«", "``"), **dict.fromkeys("”»", "''")}
)
