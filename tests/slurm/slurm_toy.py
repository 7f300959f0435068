"""A toy workflow for the executor's tests: files of a few bytes, jobs that wait until the test lets them go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# `tag` is a parameter that changes what the jobs make; a job of rule part ends when there is a file `go`.
SNAKEFILE = """
include: "{locks}"

rule whole:
    input: "part1.txt", "part2.txt"
    output: "whole.txt"
    shell: "cat {{input}} > {{output}}"

rule part:
    output: "part{{n}}.txt"
    params: tag=config.get("tag", "")
    resources: gpu=1, mem_mb=300, runtime=5
    shell:
        "echo {{wildcards.n}} >> runs.log; "
        "timeout 1000 sh -c 'until [ -e go ]; do sleep 0.2; done'; "
        "echo {{params.tag}}{{wildcards.n}} > {{output}}"

rule broken:
    output: "broken.txt"
    shell: "for n in $(seq 40); do echo line $n; done; echo the reason >&2; exit 3"

rule asking:
    output: "asking.txt"
    threads: 3
    resources:
        gpu=2, mem_mb=700, runtime=17, slurm_partition="cpu", slurm_account="people", slurm_constraint="",
        slurm_extra="--nice=7 --begin=now+1hour"
    shell: "touch {{output}}"

rule hungry:
    output: "hungry.txt"
    resources: mem_mb=600, runtime=5
    shell: "{python} -c 'import time; eaten = bytearray(500 << 20); time.sleep(5)' && echo fed > {{output}}"

rule outer:
    output: "outer.txt"
    resources: mem_mb=300, runtime=5
    shell: "env | grep -E '^(SLURM|CUDA|SUBMITIT)' > {{output}}"

rule spread:
    output: "spread.txt"
    resources: nodes=2, tasks=4, runtime=2
    shell: "srun sh -c 'echo $SLURM_PROCID of $SLURM_NTASKS on $SLURMD_NODENAME' | sort > {{output}}"
"""


class Running:
    """A started Snakemake, with what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], printed: Path) -> None:
        self.process = process
        self.printed = printed

    @property
    def text(self) -> str:
        return self.printed.read_text(errors="replace")

    def wait(self, seconds: float = 240) -> int:
        """The exit status; a run that does not end is a failed test, which shows what it printed."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text}") from None

    def good(self, seconds: float = 240) -> str:
        """What a run printed that has to end well."""
        assert self.wait(seconds) == 0, self.text
        return self.text

    def interrupt(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """An end of Snakemake alone: what it started lives on."""
        self.process.send_signal(number)
        self.process.wait()


class Toy:
    """The toy in a folder of its own."""

    def __init__(
        self, folder: Path, repository: Path, environment: Mapping[str, str] | None = None, rules: str = SNAKEFILE
    ) -> None:
        self.folder = folder
        self.environment = dict(environment or os.environ)
        self.started: list[Running] = []
        locks = repository / "workflow" / "rules" / "locks.smk"
        (folder / "Snakefile").write_text(rules.format(locks=locks, python=sys.executable))

    def start(self, *arguments: str, executor: str = "slurm", poll: float = 1, jobs: int = 8) -> Running:
        """Start Snakemake with the plugin (`executor`: a cluster's name), or without it (`executor`: none)."""
        command = self.command(*arguments, executor=executor, poll=poll, jobs=jobs)
        printed = self.folder / f"printed{len(self.started)}"
        with open(printed, "wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which nohup before the tests ignores
            )
        self.started.append(Running(process, printed))
        return self.started[-1]

    def command(self, *arguments: str, executor: str = "slurm", poll: float = 1, jobs: int = 8) -> list[str]:
        """What starts Snakemake."""
        plugin = ["--executor", "submitit", "--submitit-cluster", executor, "--submitit-poll", str(poll)]
        where = [*plugin, "--jobs", str(jobs)] if executor != "none" else ["--cores", "2"]
        return [sys.executable, "-m", "snakemake", *where, "--rerun-incomplete", *arguments]

    def run(self, *arguments: str, executor: str = "slurm", seconds: float = 240) -> Running:
        """Start Snakemake and wait for its end."""
        running = self.start(*arguments, executor=executor)
        running.wait(seconds)
        return running

    def go(self) -> None:
        """Let the jobs end."""
        (self.folder / "go").touch()

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def exists(self, name: str) -> bool:
        return (self.folder / name).exists()

    def spied(self, program: str, instead: str = "") -> Path:
        """Have a client of SLURM note when it begins and ends, and do something first; returns the notes.

        What it does first finds the client itself in `$real`.
        """
        path = self.environment["PATH"]
        real = next(found for folder in path.split(os.pathsep) if (found := Path(folder, program)).exists())
        folder, notes = self.folder / "bin", self.folder / f"{program}.notes"
        folder.mkdir(exist_ok=True)
        (folder / program).write_text(
            f'#!/bin/bash\nreal={real}\nbegan=$(date +%s.%N)\n{instead}\n$real "$@"\ncode=$?\n'
            f'echo "$began $(date +%s.%N) $*" >> {notes}\nexit $code\n'
        )
        (folder / program).chmod(0o755)
        self.environment["PATH"] = f"{folder}:{path}"
        return notes

    @property
    def journal(self) -> list[Path]:
        return sorted((self.folder / ".snakemake" / "submitit" / "journal").glob("*.json"))

    def stop(self) -> None:
        """End what a failed test left running."""
        self.go()
        for running in self.started:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()


def begun_since(notes: Path, when: float) -> int:
    """How often a spied program (`Toy.spied`) was started since a time, in seconds since the epoch."""
    return sum(float(line.split(" ", 1)[0]) > when for line in notes.read_text().splitlines())


def eventually(condition: Callable[[], bool], seconds: float = 240, pause: float = 0.3) -> None:
    """Wait until something is true; the seconds end what hangs, and say nothing of how quick a busy machine is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(pause)
