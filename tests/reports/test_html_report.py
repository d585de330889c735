"""The HTML page: what it says, that no text can act in it, and that a browser runs it without complaint."""

import base64
import html as stdlib_html
import io
import json
import re
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from browser import CHROMIUM, Browser
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from whenwhere.errors import InputError
from whenwhere.reports import html
from whenwhere.results import Event, Gap, MediaRef, Timeline, Track

XSS = "</script><script>alert(1)</script>"
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium or google-chrome is installed to render the page"
)

EVENTS = (
    Event(0.0, 2.0, "a cup of coffee", 0.9, 2.5),
    Event(1.0, 3.0, XSS),
    Event(1.5, 2.5, "a cat & a <b>dog</b>", -1.25),
    Event(2.0, 4.0, 'quotes " and \' onclick="x"'),
)
TIMELINE = Timeline(
    MediaRef(f"clips/{XSS}.mp4", 4.0, 320, 180, 10.0),
    EVENTS,
    [Track(1, [0.0], [[0, 0, 1, 1]])],
    [Gap(3.5, 3.75, XSS)],
    XSS,
    {"rate": 2.0, XSS: [XSS]},
)


class Tags(HTMLParser):
    """Collects every start tag with its attributes, and the text of each script."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.text, self._open = [], [], "", None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open = tag

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open == "script":
            self.scripts.append(data)
        elif self._open != "style":
            self.text += data

    def of_class(self, name):
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


@pytest.fixture(scope="module")
def jpeg():
    file = io.BytesIO()
    Image.fromarray(np.full((90, 160, 3), 200, np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Four seconds of real video, 40 frames."""
    path = tmp_path_factory.mktemp("video") / "cl#ip?.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((180, 320, 3), 6 * number, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def page_of(timeline, path, **options):
    html.write(timeline, path, **options)
    return path.read_bytes().decode()  # with line ends as they are


def test_the_page_says_what_the_timeline_knows(tmp_path):
    page = Tags(page_of(TIMELINE, tmp_path / "report.html"))
    words = re.sub(r"\s+", " ", page.text)
    for fact in (
        "0:04.0",
        "320 × 180, 10 fps",
        XSS,
        "1 gap (hatched): 0.2 s",
        "0:03.5 – 0:03.8",
        "score 0.90",
        "known at 0:02.5",
    ):
        assert fact in words
    for event in EVENTS:
        assert event.text in page.text
    assert "2.0" in words and json.dumps([XSS]) in words  # settings
    assert len(page.of_class("bar")) == len(page.of_class("event")) == 4
    assert len(page.of_class("gap")) == 1


def test_bars_are_drawn_to_scale_in_lanes(tmp_path):
    page = Tags(page_of(TIMELINE, tmp_path / "report.html"))
    places = [
        tuple(float(number) for number in re.findall(r"(?:row|left|width): ([\d.]+)", bar["style"]))
        for bar in page.of_class("bar")
    ]
    assert places == [(0, 0, 50), (1, 25, 50), (2, 37.5, 25), (0, 50, 50)]
    assert page.of_class("gap")[0]["style"] == "left: 87.5000%; width: 6.2500%"
    assert page.of_class("scale")[0]["style"].startswith("--lanes: 3;")
    assert [tick["style"] for tick in page.of_class("tick")][:3] == [
        "left: 0.0000%",
        "left: 12.5000%",
        "left: 25.0000%",
    ]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=20))
def test_lanes_never_overlap_and_are_as_few_as_can_be(pairs):
    spans = sorted(
        (Event(start, start + length, "") for start, length in pairs), key=lambda span: (span.start, span.end)
    )
    placed = list(zip(spans, html.rows(spans)))
    for i, (a, row_a) in enumerate(placed):
        for b, row_b in placed[i + 1 :]:
            assert row_a != row_b or a.end <= b.start
    if spans:
        busiest = max(
            sum(span.start <= moment < max(span.end, span.start + 0.5) for span in spans) for moment in range(40)
        )
        assert max(row for _, row in placed) + 1 <= busiest


def test_no_text_can_act(tmp_path, jpeg):
    page = page_of(TIMELINE, tmp_path / "report.html", thumbnails={0: jpeg}, title=XSS)
    tags = Tags(page)
    assert len(tags.scripts) == 1 and tags.scripts[0].lstrip().startswith('"use strict"')
    assert XSS not in page
    assert not [name for _, attributes in tags.tags for name in attributes if name.startswith("on")]
    addresses = [a[name] for tag, a in tags.tags for name in ("src", "href") if name in a]
    assert addresses and all(address.startswith("data:") for address in addresses)
    policy = next(a["content"] for _, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


@given(st.text(), st.text())
def test_any_text_comes_out_as_text(tmp_path_factory, text, model):
    folder = tmp_path_factory.getbasetemp()
    page = page_of(
        Timeline(MediaRef("a", 1.0, 2, 2), [Event(0, 1, text)], model=model, settings={"a": text}), folder / "any.html"
    )
    assert stdlib_html.escape(text) in page and stdlib_html.escape(model) in page
    assert len(Tags(page).scripts) == 1


def test_text_that_looks_like_a_place_of_the_template_stays(tmp_path):
    page = page_of(
        Timeline(MediaRef("a", 1.0, 2, 2), [Event(0, 1, "{{script}} {{nothing}}")]), tmp_path / "report.html"
    )
    assert "{{script}} {{nothing}}" in Tags(page).text


def test_a_small_video_is_embedded_and_a_large_one_linked(tmp_path, clip):
    embedded = page_of(TIMELINE, tmp_path / "a.html", video=clip)
    kept = re.search(r'<script type="text/plain" id="video-data" data-type="video/mp4">([^<]*)</script>', embedded)
    assert base64.b64decode(kept[1]) == clip.read_bytes()
    assert "The video is part of this page" in embedded

    (tmp_path / "out").mkdir()
    linked = page_of(TIMELINE, tmp_path / "out" / "b.html", video=clip, embed_limit=100)
    assert "is not part of this page" in linked and 'id="video-data"' not in linked
    source = next(a["src"] for tag, a in Tags(linked).tags if tag == "video")
    assert source.startswith("./../") and source.endswith("/cl%23ip%3F.mp4")


def test_captions_are_a_webvtt_track(tmp_path, clip):
    page = Tags(page_of(TIMELINE, tmp_path / "a.html", video=clip))
    track = next(a for tag, a in page.tags if tag == "track")
    text = base64.b64decode(track["src"].removeprefix("data:text/vtt;base64,")).decode()
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\na cup of coffee\n")


def test_bad_arguments_are_refused(tmp_path, jpeg):
    for options, message in (
        ({"video": tmp_path / "none.mp4"}, "No such file"),
        ({"video": tmp_path}, "cannot read the video"),
        ({"thumbnails": {4: jpeg}}, "thumbnail 4 has no event"),
        ({"thumbnails": {0: b"<svg onload=alert(1)>"}}, "thumbnail 0 is not a JPEG"),
    ):
        with pytest.raises(InputError, match=message):
            html.write(TIMELINE, tmp_path / "report.html", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "decimals", "shown"),
    [
        (0, 1, "0:00.0"),
        (59.96, 1, "1:00.0"),
        (3599.94, 1, "59:59.9"),
        (3725.5, 1, "1:02:05.5"),
        (3600, 0, "1:00:00"),
        (61.5, 2, "1:01.50"),
    ],
)
def test_clock(seconds, decimals, shown):
    assert html.clock(seconds, decimals) == shown


@pytest.mark.parametrize("duration", [None, 0.0, 1e-6, 0.04, 7.0, 5400.0, 1e9])
def test_any_duration_gives_an_axis_that_fits(tmp_path, duration):
    page = Tags(page_of(Timeline(MediaRef("a.mp4", duration, 2, 2)), tmp_path / "a.html"))
    ticks = page.of_class("tick")
    assert 1 <= len(ticks) <= 14
    assert all(float(re.search(r"left: ([\d.]+)%", tick["style"])[1]) < 96 for tick in ticks)
    assert "No events were found." in page.text


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


# Resolves to whether the page's video, if it has one, can be played
PLAYABLE = """new Promise((done) => {
  const video = document.querySelector("video");
  if (!video || video.readyState > 0) return done(true);
  if (video.error) return done(false);
  video.addEventListener("loadedmetadata", () => done(true));
  video.addEventListener("error", () => done(false));
})"""


@in_a_browser
@pytest.mark.parametrize("kind", ["embedded", "linked", "pictures", "bare"])
def test_a_browser_shows_the_page_without_complaint(tmp_path, jpeg, clip, browser, kind):
    options = {
        "embedded": {"video": clip, "thumbnails": {0: jpeg}},
        "linked": {"video": clip, "embed_limit": 0},
        "pictures": {"thumbnails": {0: jpeg, 2: jpeg}},
        "bare": {},
    }
    html.write(TIMELINE, tmp_path / "report.html", **options[kind])
    browser.open(tmp_path / "report.html")
    assert browser.run(PLAYABLE)
    page = Tags(browser.run("document.documentElement.outerHTML"))
    assert browser.complaints == []
    assert len(page.of_class("bar")) == 4
    assert len(page.of_class("gap")) == 1
    # The script ran: at second 0 the first event is the current one
    assert ["current" in bar["class"].split() for bar in page.of_class("bar")] == [True, False, False, False]
    trouble = [attributes for _, attributes in page.tags if attributes.get("id") == "trouble"]
    assert len(trouble) == (kind in ("embedded", "linked"))
    assert all("hidden" in attributes for attributes in trouble)
    left, width = browser.run(
        """(() => {
          const place = (element) => element.getBoundingClientRect();
          const [lanes, bar] = [place(document.querySelector(".lanes")), place(document.querySelectorAll(".bar")[2])];
          return [(bar.left - lanes.left) / lanes.width, bar.width / lanes.width];
        })()"""
    )
    assert (left, width) == pytest.approx((0.375, 0.25), abs=0.002)


@in_a_browser
def test_a_video_that_cannot_be_played_is_said_on_the_page(tmp_path, browser):
    (tmp_path / "not.mp4").write_bytes(b"not a video")
    html.write(TIMELINE, tmp_path / "report.html", video=tmp_path / "not.mp4")
    browser.open(tmp_path / "report.html")
    assert not browser.run(PLAYABLE)
    assert browser.run("!document.querySelector('#trouble').hidden")


DRIVER = """(async () => {
  const seen = {};
  const video = document.querySelector("video");
  const bars = [...document.querySelectorAll(".bar")];
  const current = () => bars.flatMap((bar, i) => bar.classList.contains("current") ? [i] : []);
  const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const seeked = (act) => new Promise((done) => { video.addEventListener("seeked", done, { once: true }); act(); });
  seen.duration = video.duration;
  await seeked(() => document.querySelectorAll(".event")[1].click());
  seen.list = [video.currentTime, current()];
  await seeked(() => bars[3].click());
  seen.bar = [video.currentTime, current()];
  await seeked(() => key(bars[3], "ArrowLeft"));
  seen.arrow = [video.currentTime, current(), bars.indexOf(document.activeElement), bars.map((bar) => bar.tabIndex)];
  await seeked(() => key(document.body, "n"));
  seen.next = video.currentTime;
  const lanes = document.querySelector(".lanes");
  const { left, width, top } = lanes.getBoundingClientRect();
  await seeked(() => lanes.dispatchEvent(new MouseEvent("click", { clientX: left + 0.9 * width, clientY: top + 90 })));
  seen.lanes = video.currentTime;
  seen.cues = [...video.textTracks[0].cues].map((cue) => [cue.startTime, cue.endTime, cue.getCueAsHTML().textContent]);
  await seeked(() => { video.currentTime = 1.9; });
  video.muted = true;
  await video.play();
  await new Promise((done) => setInterval(() => video.currentTime > 2.1 && done(), 20));
  await new Promise(requestAnimationFrame);
  video.pause();
  seen.playing = current();
  const search = document.querySelector("#search");
  search.value = "CAT dog";
  search.dispatchEvent(new Event("input"));
  seen.found = document.querySelector("#found").value;
  seen.shown = [...document.querySelectorAll("#events > li")].map((item) => !item.hidden);
  search.value = "zebra";
  search.dispatchEvent(new Event("input"));
  seen.nothing = !document.querySelector("#nothing").hidden;
  return seen;
})()"""


@in_a_browser
def test_selecting_playing_searching_and_keys_work_in_a_browser(tmp_path, clip, browser):
    html.write(TIMELINE, tmp_path / "report.html", video=clip)
    browser.open(tmp_path / "report.html")
    assert browser.run(PLAYABLE)
    seen = browser.run(DRIVER)
    assert browser.complaints == []
    assert seen["duration"] == pytest.approx(4, abs=0.01)
    assert seen["list"] == [1.0, [0, 1]]
    assert seen["bar"] == [2.0, [1, 2, 3]]
    assert seen["arrow"] == [1.5, [0, 1, 2], 2, [-1, -1, 0, -1]]
    assert seen["next"] == 2.0
    assert seen["lanes"] == pytest.approx(3.6, abs=0.02)
    assert seen["cues"] == [[event.start, event.end, event.text] for event in EVENTS]
    assert 3 in seen["playing"] and 0 not in seen["playing"]
    assert (seen["found"], seen["shown"]) == ("1 of 4", [False, False, True, False])
    assert seen["nothing"]


@in_a_browser
def test_a_browser_refuses_scripts_that_are_not_the_page_s_own(tmp_path, browser):
    html.write(TIMELINE, tmp_path / "report.html")
    path = tmp_path / "report.html"
    path.write_text(path.read_text().replace("</body>", "<script>document.body.id = 'owned'</script></body>"))
    browser.open(path)
    assert browser.run("document.body.id") == ""
    assert len(browser.complaints) == 1 and "Content Security Policy" in browser.complaints[0]


@in_a_browser
@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_the_page_never_scrolls_sideways(tmp_path, jpeg, clip, browser, width):
    long = "x" * 300
    timeline = Timeline(  # one label of its axis stands at 95 % of the width
        MediaRef(f"{long}.mp4", 42.0, 640, 360, 29.97),
        [Event(0, 41, long), Event(1, 41, "y z " * 200), Event(41.9, 42.0, "end")],
        gaps=[Gap(41, 42, long)],
        model=long,
        settings={long: long},
    )
    html.write(timeline, tmp_path / "report.html", video=clip, thumbnails={0: jpeg})
    browser.open(tmp_path / "report.html", width=width)
    assert browser.run("innerWidth") == width
    assert browser.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })") is None
    assert browser.run("document.documentElement.scrollWidth") <= width
