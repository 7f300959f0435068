"""One list of dependencies (pyproject.toml), one lock file, and every way to an environment uses that lock file."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
RUNTIME = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
DIRECT = [*RUNTIME, *(Requirement(line) for group in GROUPS.values() for line in group)]
PIN = re.compile(r"([a-z0-9-]+)==([^\s+;@]+)")


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = [line for line in read("requirements.lock").splitlines() if not line.startswith("#")]
    assert all(PIN.fullmatch(line) for line in lines), "a line of the lock is more, or less, than name==version"
    assert lines == sorted(set(lines), key=lambda line: line.partition("==")[0])
    return {name: Version(version) for name, version in (line.split("==") for line in lines)}


def read(name: str) -> str:
    return (REPOSITORY / name).read_text()


@pytest.mark.parametrize("need", DIRECT, ids=str)
def test_a_direct_dependency_is_pinned_to_a_version_that_pyproject_allows(need, pins):
    assert need.specifier.contains(pins[canonicalize_name(need.name)], prereleases=True), "run `make lock`"


@pytest.mark.parametrize("need", DIRECT, ids=str)
def test_a_direct_dependency_is_installed_at_its_pin(need, pins):
    installed = Version(importlib.metadata.version(need.name)).public
    assert installed == str(pins[canonicalize_name(need.name)]), "run `make env` (a TORCH of your own differs here)"


def test_what_the_package_imports_is_declared():
    graph = grimp.build_graph("dlm", include_external_packages=True, cache_dir=None)
    modules = {name for name in graph.modules if graph.is_module_squashed(name)} - sys.stdlib_module_names
    owners = importlib.metadata.packages_distributions()
    declared = {canonicalize_name(need.name) for need in RUNTIME}
    # several distributions may fill one package, as mlflow and mlflow-skinny do
    assert not [name for name in modules if declared.isdisjoint(map(canonicalize_name, owners.get(name, [name])))]


def test_the_lock_holds_for_every_platform(pins):
    assert not [name for name in pins if re.match(r"nvidia-|cuda-|triton$", name)]
    assert "pip" not in pins
    assert "dlm" not in pins


def test_conda_installs_the_same_lock_and_a_python_that_the_project_allows():
    listed = yaml.safe_load(read("environment.yml"))["dependencies"]
    by_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    assert by_pip[0] == "-r requirements.lock"
    assert all(entry.startswith("-e ") for entry in by_pip[1:])
    python = next(entry for entry in listed if isinstance(entry, str) and entry.startswith("python="))
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(python.partition("=")[2] + ".0")


def test_the_floor_of_python_is_the_same_everywhere():
    floor = PROJECT["project"]["requires-python"]
    assert re.fullmatch(r">=3\.\d+", floor), "tools/environment.sh reads this form"
    assert PROJECT["tool"]["ruff"]["target-version"] == "py3" + floor.rpartition(".")[2]
    assert PROJECT["tool"]["mypy"]["python_version"] == floor.removeprefix(">=")


def test_no_index_is_named_where_packages_are_installed():
    files = ["Makefile", "requirements.lock", "environment.yml", "pyproject.toml", ".pre-commit-config.yaml"]
    for name in [*files, ".ci/run", "tools/environment.sh", "tools/lock.py"]:
        assert not re.search(r"https?://|file://|index-url[= ]\w", read(name)), name


def test_hooks_need_no_network():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert {hook["language"] for repo in hooks for hook in repo["hooks"]} == {"system"}


def make_env(**variables: str) -> subprocess.CompletedProcess[str]:
    """`make env` as typed in a shell that has these variables, and neither an active environment nor make's own."""
    gone = ("VIRTUAL_ENV", "CONDA", "MAKE", "MFLAGS", "PYTHON", "TORCH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(gone)} | variables
    command = ["make", "--no-print-directory", "env"]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def play_python(environment: Path, version: tuple[int, int, int]) -> Path:
    """Put a stand-in for a Python of some version into an environment: it notes what pip is asked and installs nothing.

    Returns:
        The file of notes, one line for each call of pip.
    """
    python, notes = environment / "bin" / "python", environment / "notes"
    python.parent.mkdir()
    python.write_text(
        f"""#!/bin/sh
        if [ "$1" = -m ]; then echo "$@" >>"{notes}"; exit; fi
        exec '{sys.executable}' -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])' "$2"
        """
    )
    python.chmod(0o755)
    return notes


def test_too_old_a_python_is_named_in_one_line(tmp_path):
    play_python(tmp_path, (3, 9, 18))
    done = make_env(VIRTUAL_ENV=str(tmp_path))
    assert done.returncode != 0
    said = done.stderr.splitlines()[0]
    assert "needs Python 3.11 or newer" in said
    assert "is Python 3.9.18" in said
    assert "PYTHON=python3" in said


def test_torch_comes_first_then_the_lock_then_the_project_and_then_nothing(tmp_path):
    notes = play_python(tmp_path, (3, 12, 1))
    variables = {"CONDA_PREFIX": str(tmp_path), "CONDA_DEFAULT_ENV": "mine"}
    assert make_env(**variables).returncode == 0
    installs = [line.partition(" install ")[2] for line in notes.read_text().splitlines() if " install " in line]
    assert installs[0].startswith("torch==")
    assert installs[1].startswith("-r ")
    assert "--no-deps" in installs[2]
    assert len(installs) == 3
    notes.unlink()
    assert make_env(**variables).returncode == 0
    assert not notes.exists()


def test_an_interrupted_install_is_continued_and_another_torch_replaces_the_first(tmp_path):
    notes = play_python(tmp_path, (3, 11, 2))
    active = {"VIRTUAL_ENV": str(tmp_path)}
    assert make_env(**active).returncode == 0
    notes.unlink()
    (tmp_path / ".dlm" / "lock").unlink()
    assert make_env(**active).returncode == 0
    assert [line.split()[4] for line in notes.read_text().splitlines()] == ["-r"]
    notes.unlink()
    assert make_env(TORCH_INDEX="somewhere", **active).returncode == 0
    first = notes.read_text().splitlines()[0]
    assert "--force-reinstall --index-url somewhere torch==" in first
    notes.unlink()
    assert make_env(**active).returncode == 0, "the choice stands when it is not repeated"
    assert not notes.exists()


def test_a_package_that_an_interrupted_pip_left_half_installed_is_installed_again(tmp_path):
    play_python(tmp_path, (3, 11, 2))
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("half-1.0.dist-info", "whole-1.0.dist-info"):
        (packages / name).mkdir(parents=True)
    (packages / "whole-1.0.dist-info" / "INSTALLER").write_text("pip")
    python = tmp_path / "bin" / "python"
    working = python.read_text()
    python.write_text(working.replace("exit;", 'case "$*" in *" install "*) kill -9 $PPID ;; esac; exit;'))
    assert make_env(VIRTUAL_ENV=str(tmp_path)).returncode != 0
    python.write_text(working)
    assert make_env(VIRTUAL_ENV=str(tmp_path)).returncode == 0
    assert [path.name for path in packages.iterdir()] == ["whole-1.0.dist-info"]
