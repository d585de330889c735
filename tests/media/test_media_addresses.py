"""Addresses: opened only when asked for, and a playlist from elsewhere cannot read this machine's files."""

from __future__ import annotations

import functools
import http.server
import threading

import pytest
from media_files import make_bytes, make_video, number_in

from whenwhere.errors import InputError, MediaError
from whenwhere.media import as_source, clip, open_video, probe, sample


@pytest.fixture
def site(tmp_path):
    """A web server on this machine for a folder; yields (folder, address, list of asked paths)."""
    folder = tmp_path / "site"
    folder.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_a_video_at_an_address(site):
    folder, address, asked = site
    make_video(folder / "a.mkv", 20)
    with pytest.raises(MediaError, match="allow_urls=True"):
        open_video(f"{address}/a.mkv")
    assert asked == []
    with open_video(f"{address}/a.mkv", allow_urls=True) as video:
        assert [number_in(frame.pixels) for frame in video.frames(rate=5.0)] == list(range(0, 20, 2))
        with pytest.raises(InputError, match="already read"):
            video.frames()
    assert probe(f"{address}/a.mkv", allow_urls=True).duration == 2.0
    assert len(sample(f"{address}/a.mkv", 4, allow_urls=True)) == 4
    assert set(asked) == {"/a.mkv"}


def test_user_and_password_open_an_address_and_are_shown_nowhere(site):
    folder, address, _ = site
    make_video(folder / "a.mkv", 4)
    secret = f"{address}/a.mkv".replace("://", "://xavier:zq@zq@")
    source = as_source(secret, allow_urls=True)
    assert (source.name, source.address) == (f"{address}/a.mkv", secret) and "zq" not in repr(source)
    with open_video(source, allow_urls=True) as video:
        assert video.info.path == f"{address}/a.mkv" and len(list(video.frames())) == 4
    for url, allowed in ((secret, False), (secret.replace("a.mkv", "none.mkv"), True)):
        with pytest.raises(MediaError) as error:
            open_video(url, allow_urls=allowed)
        assert "zq" not in str(error.value) and "xavier" not in str(error.value)
    assert as_source("https://host/@ann/a.mp4", allow_urls=True).name == "https://host/@ann/a.mp4"


def test_a_playlist_at_an_address(site):
    """What an HLS camera serves."""
    folder, address, _ = site
    (folder / "one.ts").write_bytes(make_bytes("mpegts", 10))
    (folder / "live.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\none.ts\n#EXT-X-ENDLIST\n")
    with open_video(f"{address}/live.m3u8", allow_urls=True) as video:
        assert [number_in(frame.pixels) for frame in video.frames()] == list(range(10))


@pytest.mark.parametrize("target", ["file://{path}", "{path}", "concat:{path}|{path}", "data:video/mp2t;base64,R0"])
def test_a_playlist_cannot_reach_this_machine(site, tmp_path, target):
    folder, address, _ = site
    (tmp_path / "secret.ts").write_bytes(make_bytes("mpegts", 10))
    line = target.format(path=tmp_path / "secret.ts")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{line}\n#EXT-X-ENDLIST\n"
    (folder / "evil.m3u8").write_text(playlist)
    with pytest.raises(MediaError, match="cannot be opened|has no video"):
        open_video(f"{address}/evil.m3u8", allow_urls=True)
    (tmp_path / "local.m3u8").write_text(playlist)
    for allowed in (False, True):
        with pytest.raises(MediaError, match="is text"):
            open_video(tmp_path / "local.m3u8", allow_urls=allowed)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.mp4", "camera:77", "nonsense://host/a", "file:///etc/passwd"]
)
def test_what_does_not_answer(address):
    with pytest.raises(MediaError, match="cannot be opened"):
        open_video(address, allow_urls=True)


def test_what_is_no_video(site, tmp_path):
    folder, address, _ = site
    (folder / "page.html").write_text("<html>" * 100)
    for name in ("page.html", "none.mp4"):
        with pytest.raises(MediaError, match="cannot be opened"):
            open_video(f"{address}/{name}", allow_urls=True)
    with pytest.raises(MediaError, match="address or a camera"):
        clip(f"{address}/a.mkv", 0.0, 1.0, tmp_path / "out.mp4")
