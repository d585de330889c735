"""Writing video: what is written comes back, at its times, whole or not at all."""

from __future__ import annotations

import av
import numpy as np
import pytest
from media_files import OneWay, make_bytes, make_video, number_in, picture

from whenwhere.errors import InputError, MediaError
from whenwhere.media import Frame, clip, open_video, probe, write_video


def read_back(path):
    with open_video(path) as video:
        frames = list(video.frames())
        assert video.gaps == []
        return [number_in(frame.pixels) for frame in frames], [frame.time for frame in frames], video.duration


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("rate", [1, 12.5, 25, 29.97002997002997, 60])
def test_steady_rate(tmp_path, name, rate):
    assert write_video(tmp_path / name, (picture(n) for n in range(20)), rate) == 20
    numbers, times, duration = read_back(tmp_path / name)
    assert numbers == list(range(20))
    assert times == pytest.approx([n / rate for n in range(20)], abs=1e-3)
    assert duration == pytest.approx(20 / rate, abs=2e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_free_times(tmp_path, name):
    """The first comes at zero, the distances stay, the last lasts as long as the one before."""
    times = [5.0, 5.04, 5.5, 8.25, 8.26, 9.0]
    assert write_video(tmp_path / name, [picture(n) for n in range(6)], times=times) == 6
    numbers, written, duration = read_back(tmp_path / name)
    assert numbers == list(range(6))
    assert written == pytest.approx([time - 5.0 for time in times], abs=1e-3)
    assert duration == pytest.approx(4.0 + 0.74, abs=2e-3)
    assert probe(tmp_path / name).duration == pytest.approx(duration, abs=2e-3)


def test_frames_bring_their_own_times(tmp_path):
    frames = [Frame(i, time, picture(i)) for i, time in enumerate([0.0, 1.0, 1.5])]
    write_video(tmp_path / "a.mp4", frames)
    assert read_back(tmp_path / "a.mp4") == ([0, 1, 2], pytest.approx([0.0, 1.0, 1.5]), pytest.approx(2.0))


def test_what_players_need(tmp_path):
    """H.264 in yuv420p, colours named, the index in front of the data."""
    write_video(tmp_path / "a.mp4", [picture(1)] * 3, 10)
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        frame = next(file.decode(stream))
        assert (stream.codec_context.name, frame.format.name) == ("h264", "yuv420p")
        assert (frame.colorspace, frame.color_range) == (1, 1)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 64), (48, 63), (47, 63), (1, 1), (2, 3)])
def test_odd_sizes_grow_by_a_copy_of_the_edge(tmp_path, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, 3), dtype=np.uint8) * np.ones(
        (height, width, 1), np.uint8
    )
    write_video(tmp_path / "a.mp4", [pixels], 10, quality=1)
    with open_video(tmp_path / "a.mp4") as video:
        got = next(video.frames()).pixels.astype(int)
    assert got.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(got - pixels[0, 0]).max() <= 6


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ([], {"rate": 10}, "no frames"),
        ([picture(0), picture(1, 32, 32)], {"rate": 10}, "size of the first"),
        ([picture(0)[:, :, 0]], {"rate": 10}, "RGB"),
        ([picture(0).astype(float)], {"rate": 10}, "RGB"),
        ([np.zeros((0, 4, 3), np.uint8)], {"rate": 10}, "RGB"),
        ([picture(0)], {}, "no time"),
        ([picture(0)], {"rate": 10, "times": [0.0]}, "one of them"),
        ([picture(0)], {"rate": 0}, "rate=0"),
        ([picture(0)], {"rate": float("nan")}, "rate=nan"),
        ([picture(0)], {"rate": float("inf")}, "rate=inf"),
        ([picture(0)], {"rate": 10, "quality": 52}, "quality"),
        ([picture(0), picture(1)], {"times": [0.0]}, "no time for frame 1"),
        ([picture(0)], {"times": [0.0, 1.0]}, "more times"),
        ([picture(0), picture(1)], {"times": [0.0, float("nan")]}, "finite"),
        ([picture(0), picture(1)], {"times": [1.0, 1.0]}, "increase"),
        ([picture(0), picture(1)], {"times": [1.0, 0.5]}, "increase"),
        ([picture(0), picture(1)], {"times": [1.0, 1.0 + 1e-7]}, "increase"),
    ],
)
def test_wrong_input_leaves_no_file(tmp_path, frames, options, message):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"the old one")
    with pytest.raises(InputError, match=message):
        write_video(target, iter(frames), **options)
    assert target.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_error_of_the_caller_passes_through_and_leaves_no_file(tmp_path):
    def frames():
        yield picture(0)
        raise ZeroDivisionError("the caller's own")

    with pytest.raises(ZeroDivisionError, match="the caller's own"):
        write_video(tmp_path / "a.mp4", frames(), 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.wmv", "a", "a.mp4.txt", "none/a.mp4", "folder.mp4"])
def test_wrong_paths(tmp_path, name):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match="expected"):
        write_video(tmp_path / name, [picture(0)], 10)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.35, 1.25), (1.0, 1.1), (2.5, 9.0)])
def test_clip_is_exact_to_the_frame(tmp_path, start, end):
    path = make_video(tmp_path / "long.mp4", 30, gop=30)
    count = clip(path, start, end, tmp_path / "clip.mp4")
    numbers, times, duration = read_back(tmp_path / "clip.mp4")
    expected = [n for n in range(30) if start - 0.05 <= n / 10 < end - 0.05 - 1e-9]
    assert numbers == expected
    assert count == len(expected)
    assert times == pytest.approx([i / 10 for i in range(count)], abs=1e-4)
    if count > 1:
        assert duration == pytest.approx(count / 10, abs=1e-3)


def test_clip_of_a_pipe_scaled(tmp_path):
    assert clip(OneWay(make_bytes("matroska")), 1.0, 2.0, tmp_path / "clip.mkv", size=24) == 10
    assert (probe(tmp_path / "clip.mkv").width, probe(tmp_path / "clip.mkv").height) == (32, 24)


def test_clips_that_cannot_be(tmp_path):
    path = make_video(tmp_path / "long.mp4", 10)
    with pytest.raises(InputError, match="no picture between 5 s and 6 s"):
        clip(path, 5.0, 6.0, tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="end=1"):
        clip(path, 2.0, 1.0, tmp_path / "clip.mp4")
    with pytest.raises(MediaError, match="does not exist"):
        clip(tmp_path / "none.mp4", 0.0, 1.0, tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]


def test_reproducible_files_are_the_same_bytes(tmp_path):
    files = set()
    for number in range(6):
        junk = [bytes([number]) * (1 << size) for size in range(8, 20)]  # the memory is not the same either
        write_video(tmp_path / "a.mp4", (picture(n) for n in range(20)), 10, reproducible=True)
        files.add((tmp_path / "a.mp4").read_bytes())
        del junk
    assert len(files) == 1
