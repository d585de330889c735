"""Reading a video: the right pictures at the right times, one in memory at a time."""

from __future__ import annotations

import io
import tracemalloc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from media_cases import noisy
from media_files import (
    OneWay,
    make_bytes,
    make_images,
    make_video,
    matroska_with_times,
    number_in,
    picture,
    set_matrix,
    spoil,
)

from whenwhere.errors import InputError, MediaError
from whenwhere.media import Limits, decoder, open_video, probe, sample


def numbers_and_times(reader, **options):
    frames = list(reader.frames(**options))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return [number_in(frame.pixels) for frame in frames], [frame.time for frame in frames]


SOUND = {
    "a.mp4": {},
    "a.mkv": {},
    "a.ts": {},
    "a.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "a.avi": {"codec": "mpeg4"},
    "a.webm": {"codec": "libvpx-vp9"},
    "a.flv": {},
    "a.mpg": {"codec": "mpeg2video", "rate": 25},
    "a.gif": {"codec": "gif"},
    "b.mkv": {"codec": "ffv1", "size": (65, 49)},
    "b.mp4": {"codec": "libx264rgb", "pix_fmt": "rgb24"},
    "b.avi": {"codec": "mjpeg"},
}


@pytest.mark.parametrize("name", SOUND)
def test_every_frame_of_every_common_format(tmp_path, name):
    """Number and time of each picture are those that went in."""
    path = make_video(tmp_path / name, 20, **SOUND[name])
    rate = SOUND[name].get("rate", 10)
    with open_video(path) as video:
        numbers, times = numbers_and_times(video)
        assert numbers == list(range(20))
        assert times == pytest.approx([i / rate for i in range(20)], abs=1e-3)
        assert video.gaps == []
        assert video.duration == pytest.approx(20 / rate, abs=1e-2)
        assert (video.info.width, video.info.height) == SOUND[name].get("size", (64, 48))


def test_info(tmp_path):
    info = probe(make_video(tmp_path / "a.mp4", 30, audio=1.0))
    assert (info.kind, info.width, info.height, info.rotation) == ("video", 64, 48, 0)
    assert (info.duration, info.rate, info.frames_claimed, info.codec, info.has_audio) == (3.0, 10.0, 30, "h264", True)
    assert "mp4" in info.container
    assert info.path == str(tmp_path / "a.mp4")
    image = probe(make_images(tmp_path / "images", [3]) / "img_0003.png")
    assert (image.kind, image.width, image.height, image.codec, image.duration) == ("image", 64, 48, "png", None)


def test_variable_frame_rate_keeps_its_times(tmp_path):
    times = [0.0, 0.04, 0.5, 0.7, 3.0, 3.04]
    for name, bframes in (("a.mp4", 0), ("a.mkv", 2)):
        with open_video(make_video(tmp_path / name, 6, times=times, bframes=bframes)) as video:
            assert numbers_and_times(video) == (list(range(6)), pytest.approx(times))
            assert numbers_and_times(video, rate=1.0) == ([0, 4], pytest.approx([0.0, 3.0]))
            assert video.gaps == []  # a long still is no gap


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize("rate", [None, 0.3, 0.5, 1.0, 3.0, 10.0, 25.0])
def test_seeking_changes_nothing(tmp_path, name, rate):
    """The frames of any rate and range are the same whether the reader may seek or decodes from the front."""
    codec = {"codec": "mpeg4"} if name == "a.avi" else {"gop": 7}
    path = make_video(tmp_path / name, 150, **codec)
    for start, end in ((0.0, None), (1 / 3, 4.0), (9.95, 12.0), (14.9, None), (15.2, 99.0)):
        with open_video(path) as video:
            sought = numbers_and_times(video, rate=rate, start=start, end=end)
            video._may_seek = False
            assert numbers_and_times(video, rate=rate, start=start, end=end) == sought
            assert (sought[0] != []) == (start < 15)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_seeking_saves_decoding(tmp_path, name):
    """Where the file has an index, a late start and a low rate decode a small part of it only."""
    codec = {"codec": "mjpeg"} if name == "a.avi" else {"gop": 10}
    path = make_video(tmp_path / name, 600, size=(32, 32), **codec)
    with open_video(path, limits=Limits(max_frames=100)) as video:
        assert numbers_and_times(video, start=55.0, end=55.5)[1] == pytest.approx([55.0, 55.1, 55.2, 55.3, 55.4])
        assert numbers_and_times(video, rate=0.1)[1] == pytest.approx([10.0 * i for i in range(6)], abs=0.051)
        assert video.gaps == []


def test_an_index_that_lies_is_found_out(tmp_path):
    """A seek that lands behind its target is undone: reading starts over, without seeking."""
    path = make_video(tmp_path / "a.mp4", 150, gop=10)
    with open_video(path) as video:
        honest = numbers_and_times(video, rate=0.4)
        real = video._decoder.seek
        video._open()
        real, landed = video._decoder.seek, []

        def too_far(pts):
            landed.append(pts)
            return real(pts + round(3.0 / video._stream.time_base))

        video._decoder.seek = too_far
        video._fresh = True
        assert numbers_and_times(video, rate=0.4) == honest
        assert len(landed) == 1


MATRICES = {  # (a, b, c, d) of the file's display matrix: clockwise degrees; None for a mirror image
    (1, 0, 0, 1): 0,
    (0, 1, -1, 0): 90,  # what a phone writes when it is held upright
    (-1, 0, 0, -1): 180,
    (0, -1, 1, 0): 270,
    (-1, 0, 0, 1): None,
    (1, 0, 0, -1): None,
    (0, 1, 1, 0): None,
    (0, -1, -1, 0): None,
}


@pytest.mark.parametrize("matrix", MATRICES)
def test_rotation_and_mirror_flags(tmp_path, matrix):
    """Every pixel is shown where the matrix puts it, at full size and scaled."""
    a, b, c, d = matrix
    corner = np.zeros((48, 64, 3), np.uint8)
    corner[:16, :16] = 255  # white top left
    rows, columns = np.mgrid[0:48, 0:64]
    right, down = a * columns + c * rows, b * columns + d * rows
    expected = np.zeros((np.ptp(down) + 1, np.ptp(right) + 1, 3), np.uint8)
    expected[down - down.min(), right - right.min()] = corner
    path = set_matrix(make_video(tmp_path / "a.mp4", 1, draw=lambda n, w, h: corner), *matrix)
    with open_video(path) as video:
        frame = next(video.frames())
        assert frame.pixels.shape == expected.shape
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 4
        assert (video.info.width, video.info.height) == expected.shape[1::-1]
        if MATRICES[matrix] is not None:
            assert video.info.rotation == MATRICES[matrix]
        small = next(video.frames(size=24))
        assert min(small.pixels.shape[:2]) == 24
        assert np.abs(small.pixels.astype(int) - expected[::2, ::2]).mean() < 8


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (2, 0, 0, 2), (32767, -32768, 32767, -32768)])
def test_senseless_matrices_are_taken_for_the_nearest_turn(tmp_path, matrix):
    with open_video(set_matrix(make_video(tmp_path / "a.mp4", 2), *matrix)) as video:
        assert len(list(video.frames())) == 2


@pytest.mark.parametrize("size", [1, 7, 24, 48, 100])
def test_size_is_the_shorter_side(tmp_path, size):
    with open_video(make_video(tmp_path / "a.mp4", 2)) as video:
        frame = next(video.frames(size=size))
        assert frame.pixels.shape == (size, round(64 * size / 48), 3)
        if size >= 24:
            assert number_in(next(video.frames_at([0.1], size=size)).pixels) == 1


def test_colours(tmp_path):
    """BT.601, BT.709, full range: what was painted comes back within a few levels."""
    patch = np.zeros((48, 64, 3), np.uint8)
    patch[:, :20], patch[:, 20:40], patch[:, 40:] = (200, 30, 30), (30, 180, 40), (20, 40, 220)
    for codec, pix_fmt in (
        ("libx264", "yuv420p"),
        ("mjpeg", "yuvj420p"),
        ("libx264rgb", "rgb24"),
        ("ffv1", "yuv444p10le"),
    ):
        path = make_video(tmp_path / "a.mkv", 1, codec=codec, pix_fmt=pix_fmt, draw=lambda n, w, h: patch)
        with open_video(path) as video:
            pixels = next(video.frames()).pixels.astype(int)
            for x in (10, 30, 55):
                assert np.abs(pixels[24, x] - patch[24, x]).max() <= 12, (codec, x)


def test_size_changes_are_scaled_to_the_first(tmp_path):
    data = make_bytes("h264", 10) + make_bytes("h264", 10, size=(128, 96))
    with open_video(io.BytesIO(data)) as video:
        frames = list(video.frames())
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
    assert [number_in(frame.pixels) for frame in frames] == 2 * list(range(10))


def test_gap_in_the_middle_has_the_right_times():
    """The times of the frames around a gap are the true ones, and the gap is what lies between."""
    data = spoil(make_bytes("mp4", 60, draw=noisy, gop=1), 0.4, 0.45)
    with open_video(io.BytesIO(data)) as video:
        numbers, times = numbers_and_times(video)
        assert times == pytest.approx([number / 10 for number in numbers])
        missing = sorted(set(range(60)) - set(numbers))
        assert missing
        assert video.gaps[0].start > 0.0
        assert video.gaps[-1].end < 6.0
        in_gaps = [n for n in range(60) if any(gap.start - 1e-6 <= n / 10 < gap.end - 1e-6 for gap in video.gaps)]
        assert in_gaps == missing
        assert video.duration == pytest.approx(6.0)
        assert all(gap.reason for gap in video.gaps)
        list(video.frames(end=0.5))
        assert video.gaps == []  # gaps are those of the current iteration


def test_patched_up_pictures_on_request():
    data = bytearray(make_bytes("mp4", 30, draw=noisy, bframes=0))
    data[len(data) // 2] ^= 0x55
    with open_video(io.BytesIO(bytes(data))) as video:
        dropped, gaps = len(list(video.frames())), video.gaps
    with open_video(io.BytesIO(bytes(data)), keep_damaged=True) as video:
        assert len(list(video.frames())) > dropped
        assert [(gap.start, gap.end) for gap in gaps] == [pytest.approx((gap.start, gap.end)) for gap in video.gaps]
        assert gaps


def test_header_lies_do_not_count(tmp_path):
    """Duration is the claim before, and the measure after reading."""
    path = make_video(tmp_path / "a.mkv", 30, draw=noisy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_video(path) as video:
        assert video.duration == 3.0
        times = [frame.time for frame in video.frames()]
        assert [(gap.start, gap.end) for gap in video.gaps] == [(pytest.approx(times[-1] + 0.1), 3.0)]
        assert "claims 3.00 s" in video.gaps[0].reason


def test_one_decoded_frame_is_alive():
    """The reader holds no frame that it has handed on, and no RGB picture of one it has not."""
    with open_video(io.BytesIO(make_bytes("mp4", 60))) as video:
        handed: list[weakref.ref] = []
        for frame in video.frames():
            pixels = frame.pixels
            while pixels.base is not None and isinstance(pixels.base, np.ndarray):
                pixels = pixels.base
            handed.append(weakref.ref(pixels))
            assert sum(ref() is not None for ref in handed) == 1
            del frame, pixels
            assert sum(ref() is not None for ref in handed) == 0


def test_memory_is_flat():
    """Python memory at the last frames of a video is what it was at the first."""
    data = make_bytes("mpegts", 300, size=(160, 120))
    with open_video(io.BytesIO(data)) as video:
        tracemalloc.start()
        peaks = []
        for frame in video.frames():
            if frame.index in (20, 290):
                tracemalloc.reset_peak()
            if frame.index in (29, 299):
                peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000  # bytes; the 270 frames between are 15,000,000


def test_limits_end_in_a_marked_gap(tmp_path):
    path = make_video(tmp_path / "a.mp4", 30)
    for limits, count in ((Limits(max_frames=7), 7), (Limits(max_seconds=1.0), 10), (Limits(max_frames=30), 30)):
        with open_video(path, limits=limits) as video:
            assert len(list(video.frames())) == count
            expected = [] if count == 30 else [(pytest.approx(count / 10), 3.0)]
            assert [(gap.start, gap.end) for gap in video.gaps] == expected
            assert video.duration == pytest.approx(3.0)
    with pytest.raises(MediaError, match="64x48"):
        open_video(path, limits=Limits(max_pixels=64 * 48 - 1))


def test_the_clock_on_the_wall_is_a_limit_too(tmp_path, monkeypatch):
    """Counted anew when an iteration begins; the caller's work counts; opening has the same limit."""
    path = make_video(tmp_path / "a.mp4", 30)
    now = [0.0]
    monkeypatch.setattr(decoder, "clock_on_the_wall", SimpleNamespace(monotonic=lambda: now[0]))
    with open_video(path, limits=Limits(max_wall_seconds=10.0)) as video:
        for _ in range(2):
            now[0] += 9.0
            count = 0
            for _frame in video.frames():
                now[0] += 1.0
                count += 1
            assert count == 10
            assert [(gap.start, gap.end) for gap in video.gaps] == [(pytest.approx(1.0), 3.0)]
            assert "after 10 seconds of work" in video.gaps[0].reason
    late = iter(range(0, 1000, 11))
    monkeypatch.setattr(decoder, "clock_on_the_wall", SimpleNamespace(monotonic=lambda: next(late)))
    with pytest.raises(MediaError, match="stopped after 10 seconds"):
        open_video(path, limits=Limits(max_wall_seconds=10.0))


@pytest.mark.parametrize("field", ["max_pixels", "max_frames", "max_seconds", "max_wall_seconds", "max_barren_packets"])
def test_wrong_limits(field):
    for value in (0, -1, float("nan")):
        with pytest.raises(InputError, match=field):
            Limits(**{field: value})


def test_scaling_a_sliver_is_refused(tmp_path):
    """1 x 2,000 pixels scaled to a shorter side of 400 would be 320 million pixels."""
    path = make_video(tmp_path / "a.avi", 2, size=(2, 2000), codec="rawvideo", pix_fmt="rgb24")
    with open_video(path) as video:
        with pytest.raises(MediaError, match="choose a smaller size"):
            video.frames(size=400)
        with pytest.raises(MediaError, match="1 or more"):
            video.frames(size=0)
        assert len(list(video.frames(size=4))) == 2


def test_a_pipe_is_read_once():
    video = open_video(OneWay(make_bytes("matroska")))
    assert not video.seekable
    assert video.info.duration == 3.0
    assert len(list(video.frames(rate=2.0))) == 6
    with pytest.raises(InputError, match="already read"):
        video.frames()


def test_a_live_source_is_handed_on_as_it_comes():
    """The first frames arrive before the source has ended, not after a buffer of it is full."""
    data = make_bytes("mpegts", 200, draw=noisy, bframes=0)
    source = OneWay(data)
    with open_video(source) as video:
        frames = video.frames()
        next(frames)
        assert source._at < len(data) * 0.6
        assert len(list(frames)) == 199


def test_an_open_file_is_left_open(tmp_path):
    path = make_video(tmp_path / "a.mp4")
    with open(path, "rb") as file:
        file.seek(100)
        with open_video(file) as video:
            assert len(list(video.frames())) == 30
            assert len(list(video.frames(1.0))) == 3
        assert not file.closed
    with pytest.raises(MediaError, match="cannot be read"):
        open_video(file)
    with open(path, encoding="latin-1") as text, pytest.raises(MediaError, match="does not exist|text"):
        open_video(io.StringIO(text.read(10)))


def test_standard_input(tmp_path, monkeypatch):
    class Stdin:
        buffer = OneWay(make_bytes("matroska"))

    monkeypatch.setattr("sys.stdin", Stdin)
    with open_video("-") as video:
        assert len(list(video.frames())) == 30
        assert video.info.path == "-"


def test_a_newer_iteration_ends_the_older(tmp_path):
    with open_video(make_video(tmp_path / "a.mp4")) as video:
        older = video.frames()
        next(older)
        newer = video.frames()
        next(newer)
        assert list(older) == []
        assert len(list(newer)) == 29
        video.close()
        with pytest.raises(InputError, match="closed"):
            video.frames()
        video.close()


def test_timestamps_in_a_file_that_a_muxer_would_refuse():
    with open_video(io.BytesIO(matroska_with_times([5000, 5100, 5100, 5050, 5300, 0, 100]))) as video:
        assert numbers_and_times(video) == ([0, 1, 4, 5, 6], pytest.approx([0.0, 0.1, 0.3, 0.4, 0.5]))
        assert video.info.start == 5.0


def test_sequence(tmp_path):
    """Numbers give the times; what is missing or broken is a gap; what is not wished for is not read."""
    folder = make_images(tmp_path / "images", [*range(10, 20), *range(22, 30)])
    (folder / "img_0015.png").write_bytes(b"broken")
    make_images(folder, [29], size=(128, 96))
    with open_video(folder, sequence_rate=10.0) as video:
        numbers, times = numbers_and_times(video)
        assert numbers == [n for n in range(10, 30) if n not in (15, 20, 21)]
        assert times == pytest.approx([(n - 10) / 10 for n in numbers])
        assert [(gap.start, gap.end) for gap in video.gaps] == [pytest.approx((0.5, 0.6)), pytest.approx((1.0, 1.2))]
        assert video.duration == pytest.approx(2.0)
        assert numbers_and_times(video, rate=2.5) == ([10, 14, 18, 22, 26], pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6]))
        assert [gap.start for gap in video.gaps] == [pytest.approx(1.0)]
        assert [number_in(frame.pixels) for frame in video.frames_at([0.0, 1.92])] == [10, 29]
    with open_video(folder, sequence_rate=10.0, limits=Limits(max_frames=3)) as video:
        assert numbers_and_times(video)[0] == [10, 11, 12]
        assert (video.gaps[0].start, video.gaps[0].end) == pytest.approx((0.3, 2.0))
    every_tenth = make_images(tmp_path / "tenth", [0, 10, 20, 40])
    with open_video(every_tenth / "img_%04d.png", sequence_rate=1.0) as video:
        assert numbers_and_times(video) == ([0, 10, 20, 40], [0.0, 1.0, 2.0, 4.0])
        assert [(gap.start, gap.end) for gap in video.gaps] == [(3.0, 4.0)]
    for path in every_tenth.iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(MediaError, match="none of its images"):
        open_video(every_tenth)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "h264", "mpeg"])
@pytest.mark.parametrize("as_pipe", [False, True])
def test_sample(container, as_pipe):
    """Evenly spread whether the container claims a length, a wrong one or none."""
    options = {"codec": "mpeg2video", "rate": 25} if container == "mpeg" else {}
    data = make_bytes(container, 100, **options, **({"faststart": True} if container == "mp4" else {}))
    frames = sample(OneWay(data) if as_pipe else io.BytesIO(data), 5)
    numbers = [number_in(frame.pixels) for frame in frames]
    assert len(numbers) == 5
    assert numbers == sorted(set(numbers))
    assert numbers == pytest.approx([10, 30, 50, 70, 90], abs=10 if as_pipe or container in ("h264", "mpeg") else 1)


def test_sample_of_a_short_or_lying_video():
    frames = sample(io.BytesIO(make_bytes("mp4", 3)), 10)
    assert [number_in(frame.pixels) for frame in frames] == [0, 1, 2]
    data = make_bytes("matroska", 100, draw=noisy)
    frames = sample(io.BytesIO(data[: len(data) // 2]), 6, size=24)
    assert len(frames) == 6
    assert frames[-1].time < 5.5
    assert frames[0].pixels.shape == (24, 32, 3)
    with pytest.raises(InputError, match="n=0"):
        sample(io.BytesIO(data), 0)


def test_picture_helper_is_readable():
    """The tests above stand on this: every number survives drawing."""
    assert [number_in(picture(n)) for n in range(256)] == list(range(256))
