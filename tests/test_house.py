"""The rules of the house: what may import what, what stays light, and what must never be in the repository."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import whenwhere
from whenwhere.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "whenwhere"

# A module may import from its own level and from lower ones.
LEVELS = {
    **dict.fromkeys(("errors", "results", "cache"), 0),
    **dict.fromkeys(("media", "datasets", "worlds", "metrics", "reports"), 1),
    **dict.fromkeys(("backbones", "layers", "adapt"), 2),
    **dict.fromkeys(("systems",), 3),
    **dict.fromkeys(("training", "recipes", "api"), 4),
    **dict.fromkeys(("cli", "serving", "__main__", "__init__"), 5),
}
# These levels are used where torch is not wanted: in reports, scorers and the command line.
LIGHT = ("errors", "results", "cache", "metrics", "reports", "cli")
HEAVY = ("torch", "av", "transformers", "timm", "torchvision")

_NETWORK = ("requests", "httpx", "aiohttp", "urllib3", "urllib.request", "http.client", "socket")
_NOWHERE = ("pickle", "marshal", "shelve", "dill", "joblib", "huggingface_hub", "torch.hub", "torch.utils.model_zoo")
# library -> the only places that may import it (prefixes of paths below src/whenwhere)
RESERVED: dict[str, tuple[str, ...]] = {
    "av": ("media/",),
    "PIL": ("media/",),
    "subprocess": ("backbones/packages.py",),
    **dict.fromkeys(_NETWORK, ("serving/",)),
    **dict.fromkeys(_NOWHERE, ()),
}


@dataclass(frozen=True)
class Import:
    file: Path
    line: int
    module: str

    @property
    def place(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


@cache
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8"), str(file)) for file in sorted(SOURCE.rglob("*.py"))}


def imports_of(file: Path, tree: ast.Module) -> Iterator[Import]:
    """Every import in a file, inside functions and under TYPE_CHECKING too, one per imported name."""
    package = ["whenwhere", *file.relative_to(SOURCE).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, f"{module}.{alias.name}")


def unit_of(file: Path) -> str:
    """First name below ``whenwhere``: the folder, or the module beside the folders."""
    return file.relative_to(SOURCE).with_suffix("").parts[0]


def target_of(module: str) -> str | None:
    """The unit that an imported name belongs to; None for the version and for other libraries."""
    parts = module.split(".")
    if parts[0] != "whenwhere" or parts[1:] == ["__version__"]:
        return None
    if len(parts) == 1:
        return "__init__"
    return whenwhere._PUBLIC.get(parts[1], f"whenwhere.{parts[1]}").split(".")[1]


def breaches(found: Import) -> bool:
    target = target_of(found.module)
    return target is not None and LEVELS.get(target, 5) > LEVELS.get(unit_of(found.file), 5)


def test_every_module_has_a_level():
    unknown = {unit_of(file) for file in trees()} - LEVELS.keys()
    assert not unknown, f"say in LEVELS where these belong: {sorted(unknown)}"


def test_imports_go_down_never_up():
    found = [item for file, tree in trees().items() for item in imports_of(file, tree)]
    assert len(found) > 100, "the search itself is broken"
    broken = [f"{item.place} imports {item.module}, which is above it" for item in found if breaches(item)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("file", "source", "broken"),
    [
        ("results/a.py", "import whenwhere.errors", False),
        ("results/a.py", "from whenwhere.media import probe", True),
        ("results/a.py", "def f():\n    from whenwhere import load", True),
        ("results/a.py", "from whenwhere import __version__", False),
        ("media/a.py", "from .. import systems", True),
        ("media/a.py", "from ..results import Event", False),
        ("media/a.py", "from . import b", False),
        ("systems/a.py", "from whenwhere.layers.memory import KMeans", False),
        ("layers/a.py", "from whenwhere import systems", True),
        ("training/a.py", "import whenwhere.cli.models", True),
        ("layers/a.py", "import numpy, torch.nn", False),
    ],
)
def test_the_law_sees_every_form_of_import(file, source, broken):
    path = SOURCE / file
    assert any(breaches(item) for item in imports_of(path, ast.parse(source))) is broken


def test_reserved_libraries_stay_where_they_belong():
    broken = []
    for file, tree in trees().items():
        place = file.relative_to(SOURCE).as_posix()
        for item in imports_of(file, tree):
            for library, homes in RESERVED.items():
                if f"{item.module}.".startswith(f"{library}.") and not place.startswith(homes or "nowhere"):
                    broken.append(f"{item.place} imports {library}, which belongs to {' '.join(homes) or 'no file'}")
    assert not broken, "\n".join(broken)


def unsafe_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        if name in ("eval", "exec"):
            yield node.lineno, name
        if name == "torch.load" and options.get("weights_only") is not True:
            yield node.lineno, "torch.load without weights_only=True"
        if name.endswith(("np.load", "numpy.load")) and options.get("allow_pickle"):
            yield node.lineno, "numpy.load with allow_pickle"
        for option in ("trust_remote_code", "shell"):
            if options.get(option):
                yield node.lineno, f"{option}=True"


def test_nothing_runs_code_from_files():
    broken = [
        f"{file.relative_to(ROOT)}:{line} {what}" for file, tree in trees().items() for line, what in unsafe_calls(tree)
    ]
    assert not broken, "\n".join(broken)
    samples = "eval(x); torch.load(f); np.load(f, allow_pickle=True); M.from_pretrained(n, trust_remote_code=True)"
    assert len(list(unsafe_calls(ast.parse(samples)))) == 4


def fresh(code: str) -> str:
    """Output of a new interpreter, so that nothing is imported already."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_is_quick_and_light():
    code = (
        "import sys, time; start = time.perf_counter(); import whenwhere; print(time.perf_counter() - start);"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    seconds, heavy = zip(*(fresh(code).splitlines() for _ in range(3)))
    assert min(map(float, seconds)) < 0.3
    assert set(heavy) == {"[]"}


def test_light_parts_load_no_heavy_library():
    modules = [
        ".".join(["whenwhere", *file.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
        for file in trees()
        if unit_of(file) in LIGHT
    ]
    code = (
        f"import importlib, sys\nfor module in {modules!r}:\n    importlib.import_module(module)\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    if heavy: sys.exit(print(module, 'loads', *heavy))"
    )
    assert len(modules) > 5
    assert fresh(code) == ""


def test_the_help_is_quick():
    code = (
        "import sys, time; start = time.perf_counter(); from whenwhere.cli import main; code = main(['--help']);"
        "print(time.perf_counter() - start)"
    )
    assert min(float(fresh(code).splitlines()[-1]) for _ in range(3)) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_module_with_a_main(command):
    module = importlib.import_module(COMMANDS[command][0])
    assert callable(module.main)


@pytest.mark.parametrize("name", whenwhere._PUBLIC)
def test_every_public_name_exists_and_is_documented(name):
    assert (getattr(whenwhere, name).__doc__ or "").strip()


def test_every_public_name_and_command_is_in_the_pages():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
    names = [f"whenwhere {command}" for command in COMMANDS] + list(whenwhere._PUBLIC)
    assert not [name for name in names if not re.search(rf"\b{re.escape(name)}\b", pages)]


def undocumented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Modules, and public functions and classes at their top, that say nothing about themselves."""
    if not ast.get_docstring(tree):
        yield 1, "the module"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            overload = any(ast.unparse(mark).endswith("overload") for mark in node.decorator_list)
            public = not node.name.startswith("_") and not overload  # the implementation speaks for its overloads
            if public and not ast.get_docstring(node):
                yield node.lineno, node.name


def test_everything_public_has_a_docstring():
    broken = [
        f"{file.relative_to(ROOT)}:{line} {what}" for file, tree in trees().items() for line, what in undocumented(tree)
    ]
    assert not broken, "no docstring:\n" + "\n".join(broken)


@cache
def repository_files() -> list[Path]:
    """What is in the repository or would go into it with the next commit."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_large_files():
    large = [file for file in repository_files() if file.stat().st_size > 20 * 2**20]
    assert not large, large


# Written with character classes, so that this file does not match itself.
MACHINE_PATH = re.compile(
    rb"(?<![\w.~-])/(?:[w]ork/|[r]oot/|[o]pt/|[t]mp/|[U]sers/\w|[h]ome/(?!ann\b|user\b|you\b))|[C]:\\\\?Users"
)


def test_no_path_of_a_machine():
    found = []
    for file in repository_files():
        content = file.read_bytes()
        if b"\0" in content[:8192]:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            if match := MACHINE_PATH.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number} {match[0].decode()}")
    assert not found, "\n".join(found)


def test_the_path_pattern_sees_what_it_should():
    for text in (b'"/' + b'tmp/x"', b"/" + b"root/.cache", b"/" + b"home/bob", b"C:" + b"\\Users\\bob"):
        assert MACHINE_PATH.search(text), text
    for text in (b"https://host/" + b"work/x", b"~/" + b"work/", b"src/" + b"tmp/", b"/home/ann/.cache"):
        assert not MACHINE_PATH.search(text), text


def test_the_licence_is_apache_everywhere():
    head = (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
    assert "Apache License" in head and "Version 2.0" in head
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'license = "Apache-2.0"' in project
    # an SPDX expression and a licence classifier exclude each other (PEP 639)
    assert "License ::" not in project
    assert importlib.metadata.metadata("whenwhere")["License-Expression"] == "Apache-2.0"


# What METEOR gives are the stems of Snowball 2; those of 3 are others. An optional extra, so nothing else is held back.
BOUNDED_ABOVE = ("snowballstemmer",)


def test_dependencies_have_lower_bounds_only():
    lines = [line for line in importlib.metadata.requires("whenwhere") or [] if not line.startswith("whenwhere")]
    assert len(lines) > 10
    lines = [line for line in lines if not line.startswith(BOUNDED_ABOVE)]
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_-]+>=[0-9.]+(; extra == ['\"]\w+['\"])?", line)]


def test_no_dependency_is_under_the_gpl():
    """Checked on what is installed; LGPL would be allowed for a library that is used as it is."""
    gpl = re.compile(r"(?<!L)(?<!Lesser )\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
    broken = {}
    for line in importlib.metadata.requires("whenwhere") or []:
        name = re.split(r"[^\w.-]", line)[0]
        try:
            about = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        said = [about.get("License-Expression") or "", (about.get("License") or "")[:80]]
        said += [value for value in about.get_all("Classifier") or [] if value.startswith("License")]
        if any(gpl.search(text) for text in said):
            broken[name] = said
    assert not broken, broken


def test_continuous_integration_runs_make_test_and_nothing_else():
    script = ROOT / ".ci" / "run"
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]
    assert os.name == "nt" or os.access(script, os.X_OK)
