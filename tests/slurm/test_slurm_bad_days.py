"""A training and a sampling on a cluster's bad day: cancelled, pushed aside, out of time, their node lost.

The trainer and the sampler are the real ones, so what they leave in the end has to be, bit for bit, what is left when
nobody disturbs them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_sampling
from slurm_cluster import Cluster, started
from slurm_toy import Running, Toy, eventually

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from training_project import checkpoint, command, make_project, run, states

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(2700)]

STEPS, DOCUMENTS = 300, 400  # more than ten minutes of both, as long as there is no file `go`
RULES = """
include: "{locks}"

WEIGHTS = "results/small/checkpoints/small/model.safetensors"

rule both:
    input: "trained.txt", "sampled.txt"
    output: "both.txt"
    shell: "cat {{input}} > {{output}}"

rule trained:
    output: "trained.txt"
    resources: runtime=60, signal_s=60, mem_mb=3000
    shell: "{python} -m slurm_training train small --scale small && sha256sum < {{WEIGHTS}} > {{output}}"

rule sampled:
    output: "sampled.txt"
    resources: runtime=60, signal_s=60, mem_mb=3000
    shell:
        "{python} SAMPLING && "
        "sed -E 's/\\"seconds\\": [0-9.e-]+//' responses/1/records.jsonl | LC_ALL=C sort | sha256sum > {{output}}"

rule together:
    output: "together.txt"
    resources: nodes=2, gpu=0, runtime=60, signal_s=60, mem_mb=3000
    shell:
        "{python} -m dlm launch --nodes {{resources.nodes}} --processes {{resources.gpu}} "
        "-m slurm_training train small --scale small && sha256sum < {{WEIGHTS}} > {{output}}"
""".replace("SAMPLING", slurm_sampling.__file__)


@pytest.fixture(scope="module")
def quick() -> Iterator[Cluster]:
    """A cluster that calls a node lost when it has been silent for ten seconds."""
    yield from started(node_timeout=10)


@pytest.fixture
def work(quick: Cluster, tmp_path: Path, repository: Path) -> Iterator[Toy]:
    """A project with a training and a sampling to be done."""
    project(tmp_path, repository)
    quick.cancel_all()
    toy = toy_in(tmp_path, repository, quick)
    yield toy
    toy.stop()
    quick.cancel_all()


def toy_in(folder: Path, repository: Path, cluster: Cluster) -> Toy:
    """The nodes have no addresses of their own, and the tests' modules are looked for beside this one."""
    modules = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return Toy(folder, repository, {**cluster.environment, "MASTER_ADDR": "127.0.0.1", "PYTHONPATH": modules}, RULES)


def project(folder: Path, repository: Path) -> Path:
    make_project(folder, repository, steps=STEPS, checkpoint_seconds=1.0)
    slurm_sampling.prepare(folder, DOCUMENTS)
    return folder


def undisturbed(folder: Path, rule: str, *words: str) -> str:
    """What a rule's program leaves when it runs in one go: the digest that the rule writes."""
    run(folder, [*words])
    if rule == "sampled":
        text = re.sub(r'"seconds": [0-9.e-]+', "", (folder / "responses" / "1" / "records.jsonl").read_text())
        given = b"".join(sorted(text.encode().splitlines(keepends=True)))  # answers come in the order of their batches
    else:
        given = (checkpoint(folder) / "model.safetensors").read_bytes()
    return subprocess.run(["sha256sum"], input=given, capture_output=True, check=True).stdout.decode()


def steps_saved(toy: Toy) -> int:
    """The newest saved state of the training."""
    found = [int(mark.parent.name.rpartition("-")[2]) for mark in states(checkpoint(toy.folder))]
    return max(found, default=0)


def both_advance(toy: Toy, running: Running, seconds: float = 400) -> None:
    """Wait until both jobs have come further than they are now, and neither to its end."""
    steps, answers = steps_saved(toy), slurm_sampling.recorded(toy.folder)

    def further() -> bool:
        assert running.process.poll() is None, running.text
        assert not toy.exists("trained.txt") and not toy.exists("sampled.txt"), "too quick to be disturbed"
        return steps_saved(toy) > steps and slurm_sampling.recorded(toy.folder) > answers

    eventually(further, seconds)


def of_rule(cluster: Cluster, rule: str) -> list[list[str]]:
    """The jobs of a rule: number, state, node."""
    return [fields[:3] for fields in cluster.jobs("%i|%T|%N|%j") if fields[3].startswith(rule)]


def log_of(toy: Toy, rule: str) -> str:
    """What all jobs of a rule have said."""
    return "".join(path.read_text() for path in (toy.folder / ".snakemake/submitit/jobs").glob(f"{rule}*/*_log.out"))


def test_whatever_happens_to_them_training_and_sampling_end_as_if_nothing_had(
    work: Toy, quick: Cluster, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> None:
    running = work.start("both.txt", "--retries", "1")
    both_advance(work, running)

    # somebody cancels them: said, and tried again, from where they were
    before = steps_saved(work)
    quick.client("scancel", *(of_rule(quick, rule)[-1][0] for rule in ("trained", "sampled")))
    eventually(lambda: running.text.count("ended CANCELLED") == 2)
    both_advance(work, running)

    # a more urgent job takes their place: SLURM sends SIGTERM, which saves the state, and puts them back into the queue
    urgent = quick.client("sbatch", "--parsable", "-p", "urgent", "-N2", "--exclusive", "-o/dev/null", "--wrap=sleep 2")
    eventually(lambda: [urgent.strip(), "COMPLETED"] in quick.jobs("%i|%T"))
    both_advance(work, running)

    # their time is almost up: submitit's signal, its checkpoint, its requeueing
    for rule in ("trained", "sampled"):
        quick.client("scancel", "--batch", "--signal=USR2", of_rule(quick, rule)[-1][0])
    eventually(lambda: all("Requeued job" in log_of(work, rule) for rule in ("trained", "sampled")))
    both_advance(work, running)

    # their node is lost
    (_, _, node), (_, _, other) = (of_rule(quick, rule)[-1] for rule in ("trained", "sampled"))
    killed = time.monotonic()
    quick.kill_node(node)
    eventually(lambda: quick.node_state(node).startswith("down"))
    down = time.monotonic()
    eventually(lambda: of_rule(quick, "trained")[-1][1] == "RUNNING" and of_rule(quick, "trained")[-1][2] != node)
    again = time.monotonic()
    both_advance(work, running)
    work.go()
    running.good(900)
    done = time.monotonic()
    quick.revive_node(node)
    print(
        f"node killed: down after {down - killed:.0f} s, its training runs elsewhere after {again - killed:.0f} s, "
        f"all is done after {done - killed:.0f} s (the sampling was {'' if node == other else 'not '}there)"
    )

    # the training was continued each time, and so was the sampling
    log = log_of(work, "trained")
    assert log.count("state saved; run the same command again to continue") >= 2, (
        log
    )  # told by SIGTERM, and by submitit
    assert before > 0 and "begins anew" not in log
    alone = project(tmp_path_factory.mktemp("alone"), repository)
    (alone / "go").touch()
    assert work.read("trained.txt") == undisturbed(alone, "trained", *command(1))
    assert work.read("sampled.txt") == undisturbed(alone, "sampled", sys.executable, slurm_sampling.__file__)


def test_a_training_on_two_nodes_is_interrupted_and_continued(
    quick: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> None:
    quick.cancel_all()
    work = toy_in(make_project(tmp_path, repository, steps=STEPS, checkpoint_seconds=1.0), repository, quick)
    running = work.start("together.txt")
    eventually(lambda: steps_saved(work) > 0, 400)
    assert {node for _, state, node in of_rule(quick, "together") if state == "RUNNING"} == {"n[1-2]"}
    quick.client("scancel", "--batch", "--signal=USR2", of_rule(quick, "together")[-1][0])
    eventually(lambda: "Requeued job" in log_of(work, "together"))
    saved = steps_saved(work)
    assert 0 < saved < STEPS
    work.go()
    running.good(900)
    log = log_of(work, "together")
    assert f"at step {saved}/{STEPS}, state saved" in log, log
    alone = make_project(tmp_path_factory.mktemp("two"), repository, steps=STEPS, checkpoint_seconds=1000.0)
    assert work.read("together.txt") == undisturbed(alone, "together", *command(2))
