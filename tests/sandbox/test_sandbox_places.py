"""What is shown of this Python: its folders and the links that lead there, nothing beside them, and no home."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sandbox_examples import LIMITS

from dlm.errors import SetupError
from dlm.sandbox import require_isolation
from dlm.sandbox.places import python_places

RUN = """
import json, sys
from dlm.sandbox import run_programs
from dlm.settings import SandboxSettings
print(json.dumps(run_programs(json.loads(sys.argv[1]), SandboxSettings())))
"""


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A virtual environment whose interpreter is a link to a link in somebody's folder, which a link leads to."""
    folder = tmp_path / "somebody"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "secret").write_text("x")
    (folder / "secret").write_text("x")
    (folder / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    (tmp_path / "alias").symlink_to("somebody")
    environment = tmp_path / "project" / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text(f"home = {tmp_path}/alias/bin\n")
    (environment / "bin" / "python3").symlink_to("../../../alias/bin/python3")
    return environment


@pytest.mark.usefixtures("isolation")
def test_links_to_the_interpreter_are_shown_and_not_what_lies_beside_them(linked, repository, tmp_path):
    reading = [
        f"open({str(tmp_path / place)!r})" for place in ("somebody/secret", "somebody/bin/secret", "alias/secret")
    ]
    prefixes = f"import sys; assert sys.prefix == {str(linked)!r}; import ctypes, json, socket"
    command = [str(linked / "bin" / "python3"), "-c", RUN, json.dumps([prefixes, *reading])]
    environ = {**os.environ, "PYTHONPATH": str(repository), "HOME": str(tmp_path / "somebody")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert json.loads(done.stdout) == ["passed"] + ["failed: FileNotFoundError"] * 3


@pytest.mark.parametrize("known", ["by the environment", "by the machine"])
@pytest.mark.parametrize("inside", [".", "lib/somebody"])
def test_a_python_that_holds_the_home_folder_is_refused(monkeypatch, known, inside):
    home = os.path.realpath(Path(sys.prefix) / inside)
    if known == "by the environment":
        monkeypatch.setenv("HOME", home)
    else:
        monkeypatch.setattr(pwd, "getpwuid", lambda user: SimpleNamespace(pw_dir=home))
    with pytest.raises(SetupError, match=f"would see the home folder {home}: they are shown {sys.prefix}, "):
        require_isolation(LIMITS)


def test_a_python_inside_the_home_folder_is_shown(monkeypatch):
    monkeypatch.setenv("HOME", str(Path(sys.prefix).parent))
    assert sys.prefix in python_places()
