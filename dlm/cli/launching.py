"""``dlm launch``: launchers of several processes that pass on signals, and end with the code of what they started.

By themselves torchrun and accelerate die of SIGUSR1, leaving their processes behind, and end with code 1 of anything.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from dlm.cli.nodes import in_one_process, on_nodes, torchrun_here
from dlm.errors import DlmError, Interrupted, SetupError
from dlm.signals import SIGNALS, hear_no_more, restore


@click.command("launch", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--nodes", type=click.IntRange(1), default=1, help="Nodes of the SLURM job that this runs in, with -m.")
@click.option("--processes", type=click.IntRange(0), default=1, help="Processes on each node, a GPU each, with -m.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def launch(nodes: int, processes: int, command: tuple[str, ...]) -> None:
    """Run COMMAND, a `torchrun ...` or an `accelerate launch ...`, so that a signal stops all of its processes.

    SIGTERM and SIGUSR1 to this one process reach them all: a training saves its state. The exit code is theirs.

    A COMMAND that begins with -m is a Python module, started by torchrun in --processes on each of --nodes.

    For example: dlm launch torchrun --nproc-per-node 8 -m dlm train NAME --scale paper

    In a SLURM job of two nodes: dlm launch --nodes 2 --processes 8 -m dlm train NAME --scale paper
    """
    if command[0] == "-m":
        if nodes > 1:
            on_nodes(nodes, max(1, processes), command, os.environ)
        if processes <= 1:
            in_one_process(command)
        command = torchrun_here(processes, command)
    elif (nodes, processes) != (1, 1):
        raise click.UsageError("--nodes and --processes go with a COMMAND that begins with -m")
    run = _launcher(command)
    with _passed_on() as told:
        error = _error(run, told)
    if error:
        raise error


def _launcher(command: tuple[str, ...]) -> Callable[[], None]:
    """Return what runs the command within this process."""
    if command[:1] == ("torchrun",):

        def torchrun() -> None:
            from torch.distributed.run import parse_args, run

            run(parse_args(list(command[1:])))

        return torchrun
    if command[:2] == ("accelerate", "launch"):

        def accelerate() -> None:
            from accelerate.commands.launch import launch_command, launch_command_parser

            launch_command(launch_command_parser().parse_args(list(command[2:])))

        return accelerate
    raise click.UsageError(f"'{' '.join(command[:2])}' is no launcher; known: torchrun, accelerate launch")


@contextlib.contextmanager
def _passed_on() -> Iterator[list[str]]:
    """Pass signals on to the processes that are started; yields the names of those that came.

    Once one came, those that follow the end of the processes are ignored.
    """
    told: list[str] = []

    def pass_on(number: int, frame: object) -> None:
        told.append(signal.Signals(number).name)
        children = _children()
        if not children:
            raise _stopped(told)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    os.environ["PET_SIGNALS_TO_HANDLE"] = "SIGINT,SIGHUP,SIGQUIT"  # torchrun's own handlers, which end its processes
    logging.disable(logging.ERROR)  # its report of a failure, which is told in one line below
    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        yield told
    finally:
        logging.disable(logging.NOTSET)
        if told:
            hear_no_more()
        else:
            restore(before)


def _children() -> list[int]:
    """Return the ids of the processes that this one started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = stat.read_text().rpartition(")")[2].split()[1]  # what stands before may hold blanks
            if int(parent) == os.getpid():
                found.append(int(stat.parent.name))
    return found


def _error(run: Callable[[], None], told: list[str]) -> BaseException | None:
    """Run a launcher; return what to end with, None where all went well."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    which = "a process"
    try:
        run()
    except ChildFailedError as error:
        # The first one; but when is known by the second only, so of these the one that explains the others.
        rank, failure = min(
            error.failures.items(), key=lambda item: (item[1].timestamp, _consequence(item[1].exitcode, bool(told)))
        )
        which, code = f"the process of rank {rank}", int(failure.exitcode)
    except subprocess.CalledProcessError as error:
        code = error.returncode
    except SignalException as error:  # one that the launcher handles itself, Ctrl-C among them
        return SystemExit(128 + error.sigval)
    else:
        return None
    if code == Interrupted.exit_code or (told and -code in SIGNALS):  # the latter before it could listen
        return _stopped(told)
    return _ended_by(which, -code) if code < 0 else SystemExit(code)


def _consequence(exitcode: int, told: bool) -> int:
    """Return how much the end of a process looks like a consequence of another's, 0 not at all, or of being ``told``.

    A killed process makes others fail or abort, and a launcher sends SIGTERM to those that are left once one has
    failed: they make room, or end by it where they do not listen yet. All that were told to stop do the same, whatever
    else it makes of some; but a mistake, which has its own line already, is none of that.
    """
    made_room = exitcode == Interrupted.exit_code
    if told:
        return 0 if exitcode == DlmError.exit_code else 1 if made_room or -exitcode in SIGNALS else 2
    if made_room or exitcode == -signal.SIGTERM:
        return 3 if made_room else 4
    if exitcode == -signal.SIGABRT:
        return 2
    return int(exitcode > 0)


def _stopped(told: list[str]) -> DlmError:
    by = told[0] if told else "a signal to one of its processes"
    return Interrupted(f"launch: stopped by {by}; run the same command again to continue")


def _ended_by(which: str, number: int) -> DlmError:
    return SetupError(
        f"launch: {which} was ended by {signal.Signals(number).name}, and the others with it; a state that a training "
        "saved stays: run the same command again to continue"
    )
