"""Resolve the direct dependencies, listed in pyproject.toml, into the exact pins of requirements.lock.

    make lock                  keep every pin that still fits, add what is new, drop what nothing needs
    make lock UPGRADE=torch    let torch move to the newest version that pyproject.toml allows
    make lock UPGRADE=all      let everything move

Nothing is installed: pip resolves and reports. The lock holds for every platform: no local version suffix (`+cpu`),
none of the packages that only a CUDA build of torch brings along, no index.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
HEADER = """\
# Every package of the environment, exactly. Made by `make lock` from pyproject.toml ([project] dependencies and
# [dependency-groups]): edit the dependencies there, not here. A CUDA build of torch brings its own further packages.
"""
BROUGHT_BY_TORCH = re.compile(r"nvidia-|cuda-|triton$|pytorch-triton")


def direct_dependencies() -> list[Requirement]:
    """What people edit: the package's dependencies, its build backend and the dependency groups of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for group in project["dependency-groups"].values():
        listed += group
    return [Requirement(line) for line in listed]


def read_pins(lock: Path = LOCK) -> dict[str, Version]:
    """The pins of a lock file, by canonical name."""
    lines = lock.read_text().splitlines() if lock.exists() else []
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def constraints(direct: list[Requirement], upgrade: set[str]) -> list[str]:
    """The present pins that stay: all but those to upgrade and those that pyproject.toml no longer allows."""
    pins = {} if "all" in upgrade else read_pins()
    unfit = {canonicalize_name(need.name) for need in direct if not _allows(need, pins)}
    return [f"{name}=={version}" for name, version in pins.items() if name not in unfit | upgrade]


def _allows(need: Requirement, pins: dict[str, Version]) -> bool:
    name = canonicalize_name(need.name)
    return name not in pins or need.specifier.contains(pins[name], prereleases=True)


def resolve(direct: list[Requirement], kept: list[str]) -> list[str]:
    """Ask pip for the whole set; one `name==version` each, sorted."""
    with tempfile.TemporaryDirectory() as folder:
        constraint, report = Path(folder, "constraints.txt"), Path(folder, "report.json")
        constraint.write_text("\n".join(kept) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--constraint", str(constraint), "--report", str(report), *map(str, direct)]
        if subprocess.run(command).returncode:
            sys.exit("make lock: pip found no set that fits; name the packages that must move: make lock UPGRADE='a b'")
        found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    pins = {canonicalize_name(package["name"]): Version(package["version"]).public for package in found}
    return [f"{name}=={pins[name]}" for name in sorted(pins) if not BROUGHT_BY_TORCH.match(name)]


def main() -> None:
    before = read_pins()
    print("resolving: about half a minute", flush=True)
    direct = direct_dependencies()
    pins = resolve(direct, constraints(direct, {canonicalize_name(name) for name in sys.argv[1:]}))
    LOCK.write_text(HEADER + "\n".join(pins) + "\n")
    after = read_pins()
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            print(f"{name}: {before.get(name, 'not there')} -> {after.get(name, 'gone')}")
    print(f"{LOCK.name}: {len(after)} packages")


if __name__ == "__main__":
    main()
