"""What must be measured from outside: memory of the whole process, its error output, what an import loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from media_files import h264_of_size, jpeg_avi, make_video, png_of_size

HERE = Path(__file__).parent
PROGRAM = """
import json, resource, sys
from pathlib import Path
import numpy, av, PIL.Image
from whenwhere.errors import MediaError
from whenwhere.media import open_video, read_image

def peak():
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would hand on the peak of the process that started this one
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform != "darwin" else 1024)

def use(path):
    try:
        if path.endswith(".png"):
            read_image(path)
        else:
            with open_video(path) as video:
                return sum(1 for _ in video.frames())
    except MediaError as error:
        return str(error)

first, *rest = sys.argv[1:]
use(first)
results = []
for path in rest:
    before = peak()
    said = use(path)
    results.append([said, peak() - before])
print(json.dumps(results))
"""


def measure(*paths: Path) -> list[tuple[str | int, float]]:
    """Use the files one after the other in a fresh process; return what came of each and how far the peak rose, in KiB.

    The first file only warms the process up and is left out.
    """
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [(said, grown) for said, grown in json.loads(done.stdout)]


def test_bombs_take_no_memory(tmp_path):
    """Pictures of a gigabyte and more are refused before they are made, whether the header tells of them or not."""
    bombs = {
        "told.avi": jpeg_avi((64, 48), (64, 48), (40_000, 40_000)),
        "hidden.avi": jpeg_avi((64, 48), (40_000, 40_000)),
        "hidden.h264": h264_of_size(16_384, 16_384),
        "large.png": png_of_size(12_000, 12_000),
        "huge.png": png_of_size(50_000, 50_000),
    }
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    warm_up = make_video(tmp_path / "good.mp4", 10)
    for name, (said, grown) in zip(bombs, measure(warm_up, *(tmp_path / name for name in bombs))):
        assert isinstance(said, str), name
        assert "pixels" in said, name
        assert grown < 20_000, (name, grown)  # KiB; the smallest of these pictures has 400,000


def test_a_picture_within_the_limit_does_take_memory(tmp_path):
    """The test above can fail: the same kind of stream, just within the limit, does take that memory."""
    (tmp_path / "large.h264").write_bytes(h264_of_size(4096, 4096))
    warm_up = make_video(tmp_path / "good.mp4", 10)
    ((_, grown),) = measure(warm_up, tmp_path / "large.h264")
    assert grown > 50_000


def test_memory_does_not_grow_with_length(tmp_path):
    """Peak memory over a video ten times as long, gaps and all, is that of the short one."""
    short = make_video(tmp_path / "short.mp4", 30, size=(160, 120), codec="mpeg4", audio=3)
    long = make_video(tmp_path / "long.mp4", 300, size=(160, 120), codec="mpeg4", audio=30)
    (count, grown), (more, further) = measure(short, short, long)
    assert (count, more) == (30, 300)
    assert grown < 2_000
    assert further < 6_000  # KiB; 270 further frames kept would be 15,000


def test_importing_the_package_loads_no_library():
    """`import whenwhere.media` stays light; PyAV and Pillow come with the first call."""
    program = "import sys, whenwhere.media as m; print(dir(m) and sorted({'av', 'PIL', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist():
    import whenwhere.media as media

    for name in media.__all__:
        assert getattr(media, name) is not None
    assert set(media.__all__) <= set(dir(media))
    try:
        media.nothing  # noqa: B018
    except AttributeError as error:
        assert "open_video" in str(error)
