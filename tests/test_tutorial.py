"""The tutorial, from the first line to the last: its files are written and its commands run as they stand there."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from micro_project import copy_of

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w/.-]+)`:\s*\Z")


def steps(text: str) -> list[tuple[str, str, str]]:
    """The blocks of a document in their order: (kind, file that the words before it name, content)."""
    found, end = [], 0
    for block in BLOCK.finditer(text):
        name = NAMED.search(text[end : block.start()])
        found.append((block[1], name[1] if name else "", block[2]))
        end = block.end()
    return found


def run(line: str, project: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
    }
    done = subprocess.run(
        ["bash", "-c", line], cwd=project, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_command_of_the_tutorial_does_what_it_says(repository: Path, tmp_path: Path) -> None:
    project, printed = copy_of(repository, tmp_path / "clone"), {}
    for kind, name, content in steps((project / "docs" / "tutorial.md").read_text()):
        if kind == "sh":
            printed |= {line: run(line, project) for line in content.splitlines()}
        else:
            assert name, f"no file is named before:\n{content}"
            (project / name).parent.mkdir(exist_ok=True)
            (project / name).write_text(content)
    plan, _, rendered, _, published = (text for line, text in printed.items() if not line.startswith("cp "))
    assert "convert mine" in plan and "sample mine/1" in plan and "train" not in plan
    rows = {row["task"]: row for row in csv.DictReader((project / "results/tables/mine.csv").read_text().splitlines())}
    assert sorted(rows) == ["capitals", "countdown"]
    assert {(row["model"], row["setting"], row["scale"]) for row in rows.values()} == {("mine", "careful", "mine")}
    assert (rows["capitals"]["n"], rows["countdown"]["n"]) == ("4", "8")
    (beside,) = (line for line in rendered.splitlines() if "LLaDA-8B-Instruct" in line)
    assert re.split(r"\s*\|\s*", beside)[1:4] == ["LLaDA-8B-Instruct, published", "–", "19.9"]
    rows = list(csv.DictReader((project / "results/tables/trained.csv").read_text().splitlines()))
    assert [(row["model"], row["n"]) for row in rows] == [("mine", "4"), ("mine-sft", "4")]
    made = project / "results" / "trained"
    assert [
        len((made / "data" / "chats" / f"{name}.jsonl").read_text().splitlines()) for name in ("train", "held_out")
    ] == [3, 1]
    assert "packed in" in published
    card = (project / "my-model-for-the-hub" / "README.md").read_text()
    assert "license: apache-2.0" in card and "| Capitals | exact_match |" in card
    assert "No such file" not in "".join(printed.values())
