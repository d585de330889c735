"""WebVTT and SRT: round trips, files as they are in the wild, and refusals that name the line."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.reports import srt, vtt
from whenwhere.reports.cues import tidy
from whenwhere.results import Event

HOSTILE = st.text(alphabet="<>{}\\/&;-:,.0123 \n\r\tbiufontsamplNOTE\u200b\ufeff\0")
spans = st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)).map(sorted)


@st.composite
def events(draw):
    made = [
        Event(*draw(spans), draw(st.text() | HOSTILE), id=draw(st.none() | st.integers(-99, 10**12)))
        for _ in range(draw(st.integers(0, 4)))
    ]
    return sorted(made, key=lambda event: (event.start, event.end))


def check_round_trip(before, after, with_ids):
    """Times to the millisecond (a cue lasts at least one), text as subtitle files can hold it, nothing lost."""
    assert len(before) == len(after)

    def key(event):  # what rounds to the same time may change places
        start = round(event.start * 1000)
        return start, max(round(event.end * 1000), start + 1), tidy(event.text), (event.id or 0) if with_ids else 0

    assert sorted(map(key, before)) == sorted(map(key, after))


@given(events())
@example([Event(0, 0, "a --> b"), Event(0, 1, "<b>bold</b> & <i"), Event(3599.9996, 3600, "")])
def test_vtt_round_trip(made):
    text = vtt.format(made)
    check_round_trip(made, vtt.parse(text), with_ids=True)
    assert vtt.format(vtt.parse(text)) == text


@given(events())
@example([Event(0, 1, "1\n00:00:01,000 --> 00:00:02,000\nx"), Event(0, 1, "{\\an8}<font color=red>a</font> <\u200bb>")])
def test_srt_round_trip(made):
    text = srt.format(made)
    check_round_trip(made, srt.parse(text), with_ids=False)
    assert srt.format(srt.parse(text)) == text


@given(st.text() | HOSTILE)
@example("WEBVTT\n\n\n-->\n")
@example("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n00:00:02.000 --> 00:00:01.000")
def test_any_text_gives_events_or_an_input_error(text):
    for parse, start in ((vtt.parse, ""), (vtt.parse, "WEBVTT\n\n"), (srt.parse, "")):
        for middle in ("", "00:01.000 --> 00:02.000\n"):
            try:
                assert all(isinstance(event, Event) for event in parse(start + middle + text))
            except InputError as error:
                assert "line " in str(error)


def test_vtt_text_is_what_browsers_expect():
    made = [Event(0.0004, 1.5, "cats & <dogs>\n\n go"), Event(3661.25, 3661.25, "--> end", id=7)]
    assert vtt.format(made) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\ncats &amp; &lt;dogs&gt;\ngo\n\n"
        "7\n01:01:01.250 --> 01:01:01.251\n--&gt; end\n"
    )


def test_srt_text_is_what_players_expect():
    made = [Event(3661.25, 3662, "b"), Event(0, 1.5, "a & <c>")]
    assert srt.format(made) == "1\n00:00:00,000 --> 00:00:01,500\na & <c>\n\n2\n01:01:01,250 --> 01:01:02,000\nb\n"


WILD_VTT = """\ufeffWEBVTT - made by hand
Kind: captions
Language: en

STYLE
::cue { color: red }

REGION
id:fred

NOTE one line

NOTE
two
lines

intro
00:01.000 --> 00:04.000 align:start position:10%
<v Ann Lee>Never drink <b>liquid</b> nitrogen.</v>

2
100:00:05.500 -->\t100:00:09.000
- It will &lt;perforate&gt;&nbsp;your <c.loud>stomach</c>.
- <00:00:06.000>You &amp; me.
00:00:02.000 --> 00:00:08.000
no empty line before this one, and it overlaps

3
00:00:10.000 --> 00:00:11.000


NOTE the cue above has no text"""


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_vtt_files_in_the_wild(newline):
    assert vtt.parse(WILD_VTT.replace("\n", newline)) == (
        Event(1, 4, "Never drink liquid nitrogen."),
        Event(2, 8, "no empty line before this one, and it overlaps"),
        Event(10, 11, "", id=3),
        Event(360005.5, 360009, "- It will <perforate>\u00a0your stomach.\n- You & me.", id=2),
    )


WILD_SRT = """\ufeff

1
00:00:01,000 --> 00:00:04,000 X1:100 X2:200 Y1:10 Y2:20
<font color="#ff0000">Red</font> {\\an8}and <i>slanted</i>
   \n2
0:00:03.5 --> 0:00:09.25
overlaps, has points and short fractions
3
00:00:10,000 --> 00:00:11,000
no empty line before this one

00:12 --> 00:13
42
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_srt_files_in_the_wild(newline):
    assert srt.parse(WILD_SRT.replace("\n", newline)) == (
        Event(1, 4, "Red and slanted"),
        Event(3.5, 9.25, "overlaps, has points and short fractions"),
        Event(10, 11, "no empty line before this one"),
        Event(12, 13, "42"),
    )
    assert srt.parse("") == srt.parse("\n \n") == ()


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (vtt.parse, "", "line 1 is ''"),
        (vtt.parse, "WEBVTTT", "expected WEBVTT"),
        (vtt.parse, "WEBVTT\n\na\nb\n00:01.000 --> 00:02.000", "line 3 is 'a'"),
        (vtt.parse, "WEBVTT\n\n00:01.000 --> soon\nx", "line 3 is '00:01.000 --> soon'"),
        (vtt.parse, "WEBVTT\n\nid\n00:01.000 -> 00:02.000\nx", "line 3 is 'id'"),
        (vtt.parse, "WEBVTT\n\n00:03.000 --> 00:02.000", "line 3: the cue ends before it starts"),
        (vtt.parse, "WEBVTT\n\n00:61.000 --> 00:62.000", "line 3: the time has 00 minutes and 61 seconds"),
        (vtt.parse, "WEBVTT\n\n" + "9" * 5000 + ":00:00.000 --> 00:02.000", "line 3"),
        (vtt.parse, "WEBVTT\n\n٠٠:٠١.٠٠٠ --> ٠٠:٠٢.٠٠٠", "line 3"),
        (srt.parse, "1\n00:00:01,000 --> 00:00:02,000\na\n\nb", "line 5 is 'b'"),
        (srt.parse, "1\n\n00:00:01,000 --> 00:00:02,000\na", "line 1 is '1'"),
    ],
)
def test_malformed_files_are_refused_with_the_line(parse, text, message):
    with pytest.raises(InputError) as error:
        parse(text)
    assert message in str(error.value)
    assert len(str(error.value)) < 250


def test_a_time_beyond_all_subtitles_is_refused():
    for write in (vtt.format, srt.format):
        with pytest.raises(InputError, match="1e\\+300 s"):
            write([Event(0, 1e300, "a")])


@pytest.mark.parametrize("module", [vtt, srt])
def test_files(module, tmp_path):
    made = (Event(0, 1, "köttbullar"), Event(1, 2, "猫"))
    module.write(made, tmp_path / "captions")
    assert module.read(tmp_path / "captions") == made
    with pytest.raises(InputError, match="No such file"):
        module.read(tmp_path / "none")
