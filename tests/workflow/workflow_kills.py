"""A project whose Snakemake is killed at its work, and what can be seen of that work from outside."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from micro_project import command

PRODUCTS = {"prepare": "data", "train": "checkpoints", "sample": "responses", "score": "scores"}
"""The folder of what a stage makes."""


class Project:
    """A project at the micro scale, made in so many jobs side by side."""

    def __init__(self, root: Path, cores: int = 2) -> None:
        self.root, self.results = root, root / "results" / "micro"
        self.command = command("--cores", str(cores))
        self.whole: Mapping[str, int] = {}
        """How many answers a bundle comes to have, where that is known."""

    def start(self, line: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
        """Start the command for the table, in a process group of its own; what it prints is in the file `printed`."""
        with open(self.root / "printed", "wb") as stream:
            return subprocess.Popen(
                line or self.command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip

    def finish(self, line: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> str:
        """Let the command for the table end by itself; return what it printed."""
        done = subprocess.run(
            line or self.command, cwd=self.root, env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def begun(self, stage: str) -> str | None:
        """Return the product of the stage that is being worked on and of which there is something to lose."""
        traces = {
            "prepare": "data/.*.part/*",
            "train": "checkpoints/.*.work/checkpoint-*/whole.json",
            "sample": "responses/*/*/records.jsonl",
            "score": ".locks/scores/*/*",
        }
        # Unlike Path.glob, this stands folders that vanish while it looks.
        for path in map(Path, glob.glob(f"{self.results}/{traces[stage]}")):  # noqa: PTH207
            name = self._name(stage, path.relative_to(self.results))
            if not self.is_done(stage, name) and (stage != "sample" or self.answers(name)):
                return name
        return None

    def _name(self, stage: str, path: Path) -> str:
        if stage == "score":
            return "/".join(path.parts[-2:])
        if stage == "sample":
            return str(path.relative_to("responses").parent)
        return path.parts[1].removeprefix(".").rpartition(".")[0]

    def is_finished(self, stage: str, name: str) -> bool:
        """Whether the stage's product is there, for Snakemake and for whoever reads it."""
        file = "scores.json" if stage == "score" else "manifest.json"
        return (self.results / PRODUCTS[stage] / name / file).exists()

    def is_done(self, stage: str, name: str) -> bool:
        """Whether nothing would be lost of the stage's product any more: it is there, or its manifest alone is not."""
        all_said = stage == "sample" and name in self.whole and len(self.answers(name)) >= self.whole[name]
        return all_said or self.is_finished(stage, name)

    def answers(self, name: str) -> list[str]:
        """The whole lines of a bundle's records that tell what a model answered; its last one may just be written."""
        records = self.results / "responses" / name / "records.jsonl"
        lines = records.read_text(errors="replace").splitlines(keepends=True)
        return [line for line in lines if line.endswith("\n") and '"forward_passes"' in line]

    def log(self, stage: str, name: str) -> str:
        path = self.results / "logs" / stage / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def digests(self, step: str) -> dict[str, str]:
        """What was made in a step, by content."""
        found = sorted((self.results / step).glob("*/manifest.json"))
        return {path.parent.name: json.loads(path.read_text())["digest"] for path in found}

    def leftovers(self) -> list[str]:
        """Files and folders of unfinished work."""
        hidden = (path for path in self.results.rglob(".*") if path.name != ".locks" and not is_stamp(path))
        return sorted(str(path) for path in (*hidden, *(self.root / "results").rglob("*.part")))

    def lock(self, stage: str, name: str) -> Path:
        return self.results / ".locks" / PRODUCTS[stage] / name

    def maker(self, stage: str, name: str) -> int | None:
        """The process that makes a product, None where nobody does."""
        path = self.lock(stage, name)
        if not path.exists() or not is_locked(path):
            return None
        words = path.read_text().split()
        return int(words[1]) if len(words) > 1 else None


def is_stamp(path: Path) -> bool:
    return path.name.endswith(".made.json")


def is_locked(path: Path) -> bool:
    with open(path) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes] | None, printed: Path) -> Any:
    """Return what the condition comes to be; the process must not end before that."""
    deadline = time.monotonic() + 600
    while not (found := condition()):
        assert time.monotonic() < deadline, printed.read_text()
        assert process is None or process.poll() is None, printed.read_text()
        time.sleep(0.003)
    return found


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still; if the test fails meanwhile, it is killed."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    os.kill(pid, signal.SIGCONT)
