"""Several processes share a training: the losses of one, a clear end when one dies, states that continue."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_project import checkpoint, command, curves, make_project, run, start, states

from dlm.files import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# What an update is normalised by differs between the processes: tokens and lengths are uneven.
VARIANTS: dict[str, dict[str, Any]] = {"token": {}, "sequence": {"normalisation": "sequence", "filler": "ignore"}}


def config(repository: Path, name: str) -> str:
    return str(repository / "launch" / f"{name}.yaml")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Path]:
    """The same trainings in one process, an update in one pass."""
    made = {}
    for variant, recipe in VARIANTS.items():
        made[variant] = make_project(tmp_path_factory.mktemp(variant) / "one", repository, **recipe)
        run(made[variant], command(1))
    return made


@pytest.mark.parametrize(
    ("variant", "launcher", "shards"),
    [("token", "torchrun", ""), ("sequence", "torchrun", ""), ("token", "accelerate", "fsdp2")],
)
def test_two_processes_train_as_one(
    alone: dict[str, Path], tmp_path: Path, repository: Path, variant: str, launcher: str, shards: str
) -> None:
    project = make_project(tmp_path / "two", repository, **VARIANTS[variant], micro_batch_size=2)
    told = run(project, command(2, launcher, config(repository, shards)))
    assert told.count("train small: 6/6 steps") == 1, "one process reports"
    one, two = curves(alone[variant]), curves(project)
    assert [sorted(record) for record in two] == [sorted(record) for record in one]
    for here, there in zip(two, one, strict=True):
        for key in here:
            tolerance = 1e-5 if "loss" in key else 1e-4
            assert here[key] == pytest.approx(there[key], rel=tolerance, abs=1e-8), (key, here, there)
    weights = load_file(checkpoint(alone[variant]) / "model.safetensors")
    for name, weight in load_file(checkpoint(project) / "model.safetensors").items():
        torch.testing.assert_close(weight, weights[name], rtol=1e-4, atol=1e-5)
    assert read_manifest(checkpoint(project))["made_from"]["processes"] == 2
    assert not list(checkpoint(project).parent.glob(".*"))


def wait_for_a_state(process: subprocess.Popen[str], project: Path, before: list[Path] | None = None) -> None:
    deadline = time.monotonic() + 400
    while states(checkpoint(project)) in ([], before):
        assert process.poll() is None and time.monotonic() < deadline, "it ended before it saved a state"
        time.sleep(0.01)


def workers() -> dict[int, int]:
    """Return the process ids of the processes that a launcher of this test started, by their ranks."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, ProcessLookupError):
            continue
        environment = dict(line.partition(b"=")[::2] for line in lines)
        if environment.get(b"DLM_TEST") == str(os.getpid()).encode() and b"RANK" in environment:
            found[int(environment[b"RANK"])] = int(folder.name)
    assert len(found) == 2, found
    return found


def test_a_process_that_is_killed_ends_the_whole_job(tmp_path: Path, repository: Path) -> None:
    project = make_project(tmp_path / "two", repository, steps=50_000, checkpoint_seconds=0)
    started = time.monotonic()
    process = start(project, command(2), DLM_TEST=str(os.getpid()))
    wait_for_a_state(process, project)
    os.kill(workers()[1], signal.SIGKILL)
    began = time.monotonic()
    told, _ = process.communicate(timeout=400)
    assert process.returncode != 0
    # What the survivor finds out about its peer, if it gets that far before it is ended, stands before.
    assert told.splitlines()[-1].startswith("error: launch: the process of rank 1 was ended by SIGKILL")
    assert time.monotonic() - began < max(60, 2 * (began - started)), "or twice what a busy machine takes to start"
    assert not checkpoint(project).exists() and states(checkpoint(project))


# Run by each process as it starts; a signal ends the sleep.
DEAF = """
import os, time

if os.environ.get("RANK") == "1":
    time.sleep(60)
"""
LATE = """
import os, sys, time

def wait(event, arguments):
    if event == "open" and str(arguments[0]).endswith("params/small.yaml") and os.environ.get("RANK") == "1":
        time.sleep(60)

sys.addaudithook(wait)
"""


@pytest.mark.parametrize("begins", ["", DEAF, LATE], ids=["together", "one-does-not-listen-yet", "one-is-late"])
def test_a_mistake_is_told_once_and_ends_with_its_code(tmp_path: Path, repository: Path, begins: str) -> None:
    """Also where the other process is still on its way to the mistake as the launcher ends it."""
    project = make_project(tmp_path / "two", repository, max_length=40)
    (tmp_path / "sitecustomize.py").write_text(begins)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = run(project, command(2), status=2, PYTHONPATH=path)
    assert told.count("error:") == 1 and "40 exceeds the 32 positions" in told and "Traceback" not in told


def tell_to_stop(process: subprocess.Popen[str], whom: str) -> None:
    """Send a signal to one process, to the launcher as a person would, or to all of a job as SLURM does."""
    if whom == "worker":
        os.kill(workers()[1], signal.SIGUSR1)
    elif whom == "launcher":
        process.send_signal(signal.SIGUSR1)
    else:
        for pid in (process.pid, *workers().values()):
            os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize(("shards", "told_to_stop"), [("ddp", ("worker", "launcher")), ("fsdp2", ("all",))])
def test_processes_that_are_told_to_stop_save_together_and_continue(
    tmp_path: Path, repository: Path, shards: str, told_to_stop: tuple[str, ...]
) -> None:
    """More than one epoch, so that the order of a later one is found again."""
    recipe = {"steps": 80, "checkpoint_seconds": 0, "lora": {"rank": 2, "alpha": 4, "dropout": 0.1}}
    if shards == "fsdp2":
        recipe.pop("lora")
    whole, stopped = (make_project(tmp_path / name, repository, **recipe) for name in ("whole", "stopped"))
    launch = command(2, "accelerate", config(repository, shards))
    run(whole, launch)
    for whom in told_to_stop:
        before = states(checkpoint(stopped))
        started = time.monotonic()
        process = start(stopped, launch, DLM_TEST=str(os.getpid()))
        wait_for_a_state(process, stopped, before)
        began = time.monotonic()
        tell_to_stop(process, whom)
        told, _ = process.communicate(timeout=400)
        seconds = time.monotonic() - began
        print(f"{shards}, {whom}: left after {seconds:.1f} s, started in {began - started:.1f} s")
        assert process.returncode == 75, told
        assert seconds < max(30, began - started), "or what a busy machine takes to start"
        assert told.count("state saved; run the same command again") == 1 and "Traceback" not in told
        assert ("continues at" in told) == bool(before)
        (state,) = states(checkpoint(stopped))
        assert (state.parent / "pytorch_model_fsdp.bin").is_file() == (shards == "fsdp2")
    assert "continues at" in run(stopped, launch)
    assert read_manifest(checkpoint(stopped))["digest"] == read_manifest(checkpoint(whole))["digest"]
