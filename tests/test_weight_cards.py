"""Every set of shipped weights has a card that names data, recipe, limits and licence."""

from __future__ import annotations

from pathlib import Path

import pytest

import whenwhere

# whom a card has to credit, beside saying what it is
CREDITS = {"vit-tiny": ("CC BY 3.0", "CC BY 4.0", "Blender Foundation")}
FOLDERS = sorted(path for path in (Path(whenwhere.__file__).parent / "weights").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_card(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("Recipe", "Limits", "Licence", *CREDITS.get(folder.name, ("COCO", "CC BY 4.0"))):
        assert word in card, f"{folder.name}/README.md does not say anything under {word!r}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_only_safe_and_small_files_ship(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.suffix in {".json", ".safetensors", ".txt", ".md"}, path
            assert path.stat().st_size < 20 * 2**20, path
