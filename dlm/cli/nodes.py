"""Where the processes of a training run: this one alone, several on this node, or on all nodes of a SLURM job.

On several nodes srun starts one torchrun each, and they find each other at a port of the first node (PyTorch's `c10d`
rendezvous). srun takes the place of this process: it hands SIGUSR1 on to all nodes and ends with their exit code. A
SIGTERM it answers by killing them, so that is for SLURM to send.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import NoReturn

from dlm.errors import SetupError

# Of the ports that systems leave to programs, those below the ones that Linux gives to outgoing connections.
_FIRST_PORT, _PORTS = 10_000, 20_000
_LAST_WORDS_S = 60


def in_one_process(command: tuple[str, ...]) -> NoReturn:
    """Become ``command``, a module and its arguments."""
    _become([sys.executable, *command])


def torchrun_here(processes: int, command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the torchrun of so many processes on this machine, at a port that is free."""
    meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    return ("torchrun", "--nproc-per-node", str(processes), *meeting, *command)


def on_nodes(nodes: int, processes: int, command: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Become the srun that starts ``command`` in so many processes on each node of the SLURM job.

    Args:
        nodes, processes: how many nodes, and processes on each.
        command: a module and its arguments.
        environment: of a process on the job's first node, as SLURM made it. ``MASTER_ADDR`` and ``MASTER_PORT`` say
            where to meet, in place of this machine's name and a port that follows from the job's number.

    Raises:
        SetupError: not within a SLURM job, or one of another size.
    """
    _become(srun_command(nodes, processes, command, environment))


def srun_command(nodes: int, processes: int, command: tuple[str, ...], environment: Mapping[str, str]) -> list[str]:
    """Return the command of `on_nodes`."""
    job, there = environment.get("SLURM_JOB_ID"), environment.get("SLURM_JOB_NUM_NODES", "1")
    if job is None or int(there) != nodes:
        found = "this is no SLURM job" if job is None else f"SLURM job {job} has {there}"
        raise SetupError(f"launch --nodes {nodes}: {found}; run it on the first node of a SLURM job of {nodes} nodes")
    host = environment.get("MASTER_ADDR") or socket.gethostname()
    port = environment.get("MASTER_PORT") or str(_FIRST_PORT + int(job) % _PORTS)
    run = environment.get("SLURM_RESTART_COUNT", "0")  # so that a process of a run that was requeued joins no other
    cores = int(environment.get("SLURM_CPUS_PER_TASK", "1")) * int(environment.get("SLURM_NTASKS_PER_NODE", "1"))
    across = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cores}"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{host}:{port}", "--rdzv-id", f"{job}.{run}"]
    each = ["torchrun", "--nnodes", str(nodes), "--nproc-per-node", str(processes), *meeting]
    # --wait: how long the others may go on when the first has ended, as they do not where a node is lost
    return ["srun", *across, f"--wait={_LAST_WORDS_S}", sys.executable, "-m", "dlm", "launch", *each, *command]


def _become(command: list[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(command[0], command)
    except FileNotFoundError as error:
        raise SetupError(f"no {command[0]} on this machine") from error
