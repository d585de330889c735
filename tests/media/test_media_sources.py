"""What a user may point at."""

from __future__ import annotations

import io
import os

import pytest
from media_files import OneWay, make_images, make_video, picture
from PIL import Image

from whenwhere.errors import MediaError
from whenwhere.media import Source, as_source, expand, open_video
from whenwhere.media.sources import natural_key


@pytest.fixture
def folder(tmp_path):
    """Two clips, an image, a text and a hidden file."""
    for name in ("clip10.mp4", "clip2.mp4"):
        make_video(tmp_path / name, 2)
    Image.fromarray(picture(1)).save(tmp_path / "photo.JPG")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    return tmp_path


def names(sources):
    return [os.path.basename(source.name) for source in sources]


def test_file_folder_and_glob(folder):
    assert names(expand([folder / "clip2.mp4"])) == ["clip2.mp4"]
    assert names(expand([folder])) == ["clip2.mp4", "clip10.mp4", "photo.JPG"]
    assert names(expand([str(folder / "clip*.mp4")])) == ["clip2.mp4", "clip10.mp4"]
    assert names(expand([str(folder / "**" / "*.txt")])) == ["notes.txt"]  # named outright, so taken
    assert names(expand([folder / "photo.JPG", folder])) == ["photo.JPG", "clip2.mp4", "clip10.mp4"]  # each once
    assert all(source.kind == "file" for source in expand([folder]))
    with open_video(expand([folder])[0]) as video:
        assert len(list(video.frames())) == 2


def test_a_path_that_exists_means_itself(folder, monkeypatch):
    """Whatever signs its name holds."""
    monkeypatch.chdir(folder)
    for name in ("a[1]*.mp4", "a%03d.mp4", "camera:0", "-x.mp4"):
        make_video(folder / "v.mp4", 2).rename(folder / name)
        (source,) = expand([name])
        assert (source.kind, str(source.path)) == ("file", name)
        with open_video(name) as video:
            assert len(list(video.frames())) == 2
    os.makedirs("http:/host")
    make_video(folder / "http:" / "host" / "v.mp4", 2)
    assert as_source("http://host/v.mp4").kind == "file"


def test_what_matches_nothing(folder):
    for arg, message in (
        (folder / "none.mp4", "does not exist"),
        (folder / "*.mkv", "matches no file"),
        (folder / "sub", "holds no video or image"),
        (folder / "frame%04d.png", "no file matches"),
        ("", "the path ''"),
        ("a\0b", "the path"),
    ):
        with pytest.raises(MediaError, match=message):
            expand([arg])


def test_dangling_and_looping_links(folder):
    (folder / "dangling.mp4").symlink_to(folder / "gone.mp4")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    for name in ("dangling.mp4", "loop.mp4"):
        with pytest.raises(MediaError, match="cannot be opened"):
            as_source(folder / name)
    (folder / "good.mp4").symlink_to(folder / "clip2.mp4")
    with open_video(folder / "good.mp4") as video:
        assert len(list(video.frames())) == 2


def test_numbered_images(tmp_path):
    """A folder of them is one video for `describe`, and many images for `caption`."""
    images = make_images(tmp_path / "frames", [8, 9, 10, 11], "f{}.png")
    (source,) = expand([images])
    assert (source.kind, source.numbers, source.rate) == ("sequence", (8, 9, 10, 11), 25.0)
    assert names([Source("file", str(path)) for path in source.images]) == ["f8.png", "f9.png", "f10.png", "f11.png"]
    assert [source.kind for source in expand([images], sequences=False)] == ["file"] * 4
    (pattern,) = expand([images / "f%d.png"], sequence_rate=5.0)
    assert (pattern.numbers, pattern.rate) == ((8, 9, 10, 11), 5.0)
    assert as_source(images / "f%02d.png").numbers == (10, 11)
    with pytest.raises(MediaError, match="above zero"):
        as_source(images, sequence_rate=0.0)


def test_photos_with_scattered_numbers_are_no_video(tmp_path):
    photos = make_images(tmp_path / "photos", [139, 285, 632, 724, 776, 785, 802], "{:012d}.jpg")
    assert [source.kind for source in expand([photos])] == ["file"] * 7
    with pytest.raises(MediaError, match="a folder with 7 media files"):
        as_source(photos)
    mixed = make_images(tmp_path / "mixed", [1, 2, 3])
    make_video(mixed / "v.mp4", 2)
    assert len(expand([mixed])) == 4
    unequal = make_images(tmp_path / "unequal", [1, 2], "a{}.png")
    make_images(unequal, [3, 4], "b{}.png")
    assert len(expand([unequal])) == 4
    twice = make_images(tmp_path / "twice", [1, 2], "a{}.png")
    make_images(twice, [1], "a{:02d}.png")
    assert len(expand([twice])) == 3


def test_file_objects(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4", 2)
    with open(path, "rb") as file:
        assert (as_source(file).kind, as_source(file).name) == ("file", str(path))
    assert (as_source(io.BytesIO(b"x")).kind, as_source(io.BytesIO(b"x")).name) == ("file", "<file object>")
    assert as_source(OneWay(b"x")).kind == "stream"
    with pytest.raises(MediaError, match="text file object"):
        as_source(io.StringIO("x"))
    with open(os.open(path, os.O_WRONLY), "wb") as write_only, pytest.raises(MediaError, match="cannot be read"):
        as_source(write_only)
    source = as_source(path)
    assert as_source(source) is source
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": OneWay(b"x")}))
    assert [(source.kind, source.name) for source in expand(["-"])] == [("stream", "-")]


@pytest.mark.parametrize(
    "address", ["http://host/a.mp4", "rtsp://host/live", "file:///etc/passwd", "camera:0", "data://x"]
)
def test_addresses_need_permission(address):
    for call in (as_source, open_video, lambda a: expand([a])):
        with pytest.raises(MediaError, match="address or a camera"):
            call(address)
    kind = "camera" if address.startswith("camera") else "url"
    assert as_source(address, allow_urls=True).kind == kind
    with pytest.raises(MediaError, match="address or a camera"):
        open_video(Source(kind, address))
    assert [source.kind for source in expand([address], allow_urls=True)] == [kind]


def test_natural_order():
    names = ["img10a10", "img2", "img10a2", "img1b", "a", "img10", "img01", "img"]
    ordered = ["a", "img", "img01", "img1b", "img2", "img10", "img10a2", "img10a10"]
    assert sorted(names, key=natural_key) == ordered
