"""Where results go: whose folder may be taken, what is refused early, and what a failed run takes away again."""

from __future__ import annotations

from pathlib import Path

import pytest

from whenwhere.errors import InputError
from whenwhere.reports import folder
from whenwhere.results import MediaRef, Timeline


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results_of(media: str, name: str) -> None:
    Path(name).mkdir()
    Timeline(MediaRef(media, 1.0, 64, 48)).save(Path(name) / "timeline.json")


def test_one_video_has_one_folder_however_it_is_spelled(here):
    results_of("v.mp4", "v.whenwhere")
    (here / "sub").mkdir()
    (here / "link.mp4").symlink_to("v.mp4")
    for spelled in ("v.mp4", "./v.mp4", "sub/../v.mp4", str(here / "v.mp4"), "link.mp4"):
        assert folder.free("v", spelled) == Path("v.whenwhere"), spelled
    assert folder.free("v", "sub/v.mp4") == Path("v-2.whenwhere")
    results_of("sub/v.mp4", "v-2.whenwhere")
    assert folder.free("v", str(here / "sub" / "v.mp4")) == Path("v-2.whenwhere")


def test_what_cannot_be_read_twice_gets_a_new_folder():
    results_of("-", "stdin.whenwhere")
    Path("stdin-2.whenwhere").mkdir()  # of a run that has not finished yet
    assert folder.free("stdin", None) == Path("stdin-3.whenwhere")


def test_what_could_not_be_written_is_refused_and_nothing_is_made(here):
    (here / "file").write_text("mine")
    (here / "full").mkdir()
    (here / "full" / "notes").write_text("mine")
    before = sorted(here.rglob("*"))
    for wanted in ("file", "file/out", "file/a/b"):
        for ask in (folder.check, folder.check_place, folder.claim):
            with pytest.raises(InputError, match="file is not a folder"):
                ask(wanted)
    with pytest.raises(InputError, match="full holds other files"):
        folder.check("full")
    folder.check_place("full")
    folder.check("new/one")
    folder.check(".." + "/" + here.name + "/new")
    assert sorted(here.rglob("*")) == before


def test_only_empty_folders_that_were_made_go_again(here):
    (here / "a").mkdir()
    made = folder.missing("a/b/c/d")
    assert made == [Path("a/b/c/d"), Path("a/b/c"), Path("a/b")]
    assert folder.claim("a/b/c/d").is_dir()
    folder.remove(made)
    assert list(here.rglob("*")) == [here / "a"]
    folder.claim("a/b/c/d")
    (here / "a" / "b" / "somebody").write_text("mine")
    folder.remove(made)
    assert sorted(here.rglob("*")) == [here / "a", here / "a" / "b", here / "a" / "b" / "somebody"]
