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
        "timeout 100 sh -c 'until [ -e go ]; do sleep 0.2; done'; "
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

    def wait(self, seconds: float = 90) -> int:
        """The exit status; a run that does not end is a failed test, which shows what it printed."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text}") from None

    def good(self, seconds: float = 90) -> str:
        """What a run printed that has to end well."""
        assert self.wait(seconds) == 0, self.text
        return self.text

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to Snakemake alone: what it started lives on."""
        self.process.kill()
        self.process.wait()


class Toy:
    """The toy in a folder of its own."""

    def __init__(self, folder: Path, repository: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = dict(environment or os.environ)
        self.started: list[Running] = []
        locks = repository / "workflow" / "rules" / "locks.smk"
        (folder / "Snakefile").write_text(SNAKEFILE.format(locks=locks))

    def start(self, *arguments: str, executor: str = "slurm", poll: float = 1) -> Running:
        """Start Snakemake with the plugin (`executor`: a cluster's name), or without it (`executor`: none)."""
        plugin = ["--executor", "submitit", "--submitit-cluster", executor, "--submitit-poll", str(poll), "--jobs", "8"]
        where = plugin if executor != "none" else ["--cores", "2"]
        command = [sys.executable, "-m", "snakemake", *where, "--rerun-incomplete", *arguments]
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
            )
        self.started.append(Running(process, printed))
        return self.started[-1]

    def run(self, *arguments: str, executor: str = "slurm", seconds: float = 90) -> Running:
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


def eventually(condition: Callable[[], bool], seconds: float = 30, pause: float = 0.3) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(pause)
