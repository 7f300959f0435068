"""Who may know whom (docs/architecture.md, "Rooms"): the contracts of pyproject.toml, what each room may take from
outside, and each room imported where nothing else is installed."""

from __future__ import annotations

import functools
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CORE = {"torch", "transformers"}
PLAN = {"pydantic", "pyyaml"}
DESIGNS = {"scipy"}
DATA = {"datasets", "huggingface-hub", "pandas", "pyarrow", "rich", "tenacity", "tokenizers", "transformers"}
# what a room and everything that it imports may take from outside, by the name that pip knows
OUTSIDE = {
    "errors": set(),
    "files": set(),
    "locks": set(),
    "ordering": set(),
    "provenance": set(),
    "progress": {"rich"},
    "signals": set(),
    "settings": set(),
    "params": PLAN | DESIGNS,
    "sandbox": set(),
    "data": PLAN | DESIGNS | DATA,
    "diffusion": {"torch"},
    "models": CORE | {"safetensors"},
    "likelihood": {"torch"},
    "sampling": CORE | {"safetensors"},
    "verification": CORE | {"numpy", "safetensors"},
    "training": CORE | PLAN | DESIGNS | DATA | {"accelerate", "peft", "safetensors"},
    "evaluation": CORE | PLAN | DESIGNS | DATA | {"jinja2", "lm-eval", "math-verify", "nltk", "numpy", "safetensors"},
    "planning": CORE | PLAN | DESIGNS | {"safetensors"},
    "analysis": PLAN | {"matplotlib", "numpy", "pandas", "rich", "scipy", "statsmodels"},
    "figures": {"matplotlib"},
    "reporting": CORE
    | PLAN
    | {
        "jinja2",
        "markdown-it-py",
        "matplotlib",
        "mlflow",
        "pandas",
        "pillow",
        "rich",
        "safetensors",
        "scipy",
        "statsmodels",
        "tokenizers",
    },
    "watching": CORE | {"jinja2", "matplotlib", "pillow", "rich", "safetensors", "tokenizers"},
    "inspection": PLAN | {"matplotlib", "mlflow", "pandas", "rich", "scipy", "statsmodels"},
    "publishing": PLAN | DATA | {"jinja2", "matplotlib", "rich", "scipy", "statsmodels"},
    "tracking": CORE
    | PLAN
    | {
        "matplotlib",
        "mlflow",
        "mlflow-skinny",
        "mlflow-tracing",
        "pandas",
        "rich",
        "safetensors",
        "scipy",
        "sqlalchemy",
        "statsmodels",
    },
}
# rooms that have to work, every module of them, where only these and what they require are installed
ALONE = {
    "errors": set(),
    "files": set(),
    "locks": set(),
    "ordering": set(),
    "settings": set(),
    "sandbox": set(),
    "params": PLAN,
    "diffusion": {"torch"},
    "models": CORE,
    "likelihood": {"torch"},
    "sampling": CORE,
    "cli": PLAN | {"click", "rich"},
}

IMPORT_A_ROOM = """
import importlib, pkgutil, sys
sys.path += sys.argv[2:]
room = importlib.import_module(sys.argv[1])
assert room.__file__, f"{room.__name__} is an empty folder"
for module in pkgutil.walk_packages(getattr(room, "__path__", []), room.__name__ + "."):
    importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("dlm", include_external_packages=True, cache_dir=None)


def test_the_contracts_of_pyproject_hold(repository):
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_is_listed_here(graph):
    assert {room.removeprefix("dlm.") for room in graph.find_children("dlm")} == {*OUTSIDE, "cli", "__main__"}


@pytest.mark.parametrize("room", OUTSIDE)
def test_a_room_takes_from_outside_only_what_its_row_says(room, graph):
    known = graph.find_upstream_modules(f"dlm.{room}", as_package=True)
    modules = {name for name in known if graph.is_module_squashed(name)} - sys.stdlib_module_names
    assert distributions_of(modules) <= OUTSIDE[room]


@pytest.mark.parametrize("room", ALONE)
def test_a_room_imports_where_nothing_else_is_installed(room, repository, tmp_path):
    installed = with_requirements(ALONE[room])
    for distribution in installed:
        link(distribution, tmp_path)
    done = import_room(room, [str(repository), str(tmp_path)])
    assert done.returncode == 0, (
        f"dlm.{room} with {sorted(ALONE[room]) or 'the standard library'} alone:\n{done.stderr}"
    )


@pytest.mark.parametrize(
    "room",
    [
        *("settings", "sandbox", "params", "data", "analysis", "figures", "inspection", "publishing", "reporting"),
        *("tracking", "watching", "cli"),
    ],
)
def test_a_room_that_needs_no_torch_loads_none(room, repository):
    installed = [entry for entry in sys.path if "site-packages" in entry]
    done = import_room(room, [str(repository), *installed])
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "transformers", "datasets", "lm_eval", "snakemake", "mlflow"}
    if room not in ("analysis", "inspection", "publishing", "reporting"):
        heavy |= {"pandas", "numpy", "scipy", "matplotlib"}
    assert heavy.isdisjoint(done.stdout.split())


def import_room(room: str, path: list[str]) -> subprocess.CompletedProcess[str]:
    """Import every module of a room in a new Python that finds the standard library and ``path``, nothing else."""
    command = [sys.executable, "-I", "-S", "-c", IMPORT_A_ROOM, f"dlm.{room}", *path]
    return subprocess.run(command, capture_output=True, text=True)


@functools.cache
def owners_of_modules() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def distributions_of(modules: Iterable[str]) -> set[str]:
    """The installed distributions that importable top-level names come from; a name nothing installs stays itself."""
    owners = owners_of_modules()
    return {canonicalize_name(owner) for name in modules for owner in owners.get(name, [name])}


def with_requirements(names: Iterable[str]) -> set[str]:
    """The named distributions and, as far as installed, all that they require here, extras aside."""
    found: set[str] = set()
    waiting = {canonicalize_name(name) for name in names}
    while waiting:
        found.add(name := waiting.pop())
        for line in importlib.metadata.requires(name) or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.add(canonicalize_name(need.name))
        waiting -= found
    return found


def link(distribution: str, folder: Path) -> None:
    """Make a distribution, its metadata included, importable from ``folder``."""
    files = importlib.metadata.distribution(distribution)
    tops = {path.parts[0] for path in files.files or [] if path.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        place = folder / top
        if not place.exists():
            place.symlink_to(Path(str(files.locate_file(top))))
