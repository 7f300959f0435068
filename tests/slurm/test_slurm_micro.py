"""The micro Table 1 on SLURM, by the command of a fresh clone, whatever happens to Snakemake in between."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from micro_project import again, cells, command, keep_rows, make_table, twin
from slurm_cluster import Cluster
from slurm_toy import eventually

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(3000)]

STAGES = ("prepare", "train", "convert", "sample", "score")
MODELS = ("dream-base", "dream-base-sft")


def stopped_between_submissions(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Stop a Snakemake unless it is about to submit: a job taken, whose number it does not know yet, runs twice."""
    process.send_signal(signal.SIGSTOP)
    while process.poll() is None and psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)
    journal = (folder / ".snakemake" / "submitit" / "journal").glob("*.json")
    if all(json.loads(entry.read_text())["job_id"] for entry in journal):
        return True
    process.send_signal(signal.SIGCONT)
    return False


def kill_within(stage: str, folder: Path, cluster: Cluster) -> str:
    """Start Snakemake, kill it alone while a job of the stage runs; return what it printed."""

    def runs() -> bool:
        assert process.poll() is None, printed.read_text()
        of_stage = (f"{stage}.", f"{stage}-")  # alone, or one of an array
        return any(state == "RUNNING" and name.startswith(of_stage) for _, state, name in cluster.jobs())

    printed = folder / f"killed-{stage}"
    with open(printed, "wb") as stream:
        process = subprocess.Popen(
            command("--profile", "slurm"), cwd=folder, env=dict(cluster.environment), stdout=stream, stderr=stream
        )
    try:
        # from the second start on it has to be attached before it is killed again
        eventually(lambda: stage == STAGES[0] or "SLURM job" in printed.read_text())
        eventually(runs, 600, pause=1)
        eventually(lambda: stopped_between_submissions(process, folder), pause=0.05)
    finally:
        process.kill()
        process.wait()
    return printed.read_text()


def test_the_table_made_on_slurm_is_the_local_one(idle: Cluster, micro_run: Path, tmp_path: Path) -> None:
    """Killed once in each stage, started again by the same command: no job runs twice, the table is the same."""
    before = len(idle.jobs())
    folder = again(micro_run, tmp_path / "clone")
    keep_rows(folder, MODELS)
    printed = [kill_within(stage, folder, idle) for stage in STAGES]
    make_table(folder, idle.environment, "--profile", "slurm")
    assert cells(folder, MODELS) == cells(micro_run, MODELS) and len(cells(folder, MODELS)) == 8
    assert all("Attached to SLURM job" in text for text in printed[1:])
    jobs = idle.jobs()[before:]
    # the result of the last may be there before SLURM sees its end
    eventually(lambda: {state for _, state, _ in idle.jobs()[before:]} == {"COMPLETED"})
    (total,) = re.findall(r"^total +(\d+)$", printed[0], re.MULTILINE)
    assert len(jobs) == int(total) - 1 > 12  # every job once, but for the publishing
    assert len({job_id.partition("_")[0] for job_id, _, _ in jobs}) < len(jobs)  # some as arrays


def test_documents_dealt_out_to_an_array_are_those_of_one_job(idle: Cluster, micro_run: Path, tmp_path: Path) -> None:
    """A bundle sampled again in three shards: the same records but for the seconds, and nothing left to do."""
    folder, before = twin(micro_run, tmp_path / "clone"), len(idle.jobs())
    bundle = folder / "results/micro/responses/llada-instruct-sft/1"
    whole = without_seconds(bundle)
    shutil.rmtree(bundle)
    target = str(bundle.relative_to(folder) / "manifest.json")
    scattered = ("--config", "scale=micro", "--set-scatter", "documents=3")
    run = [command()[0], "--profile", "slurm", target, *scattered]
    done = subprocess.run(run, cwd=folder, env=dict(idle.environment), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [(job_id.partition("_")[2], name.partition("-")[0]) for job_id, _, name in idle.jobs()[before:]]
    assert names == [("0", "shard"), ("1", "shard"), ("2", "shard"), ("", "sample.llada")]
    assert without_seconds(bundle) == whole
    assert not (folder / "results/micro/shards/llada-instruct-sft/1").exists()
    again = subprocess.run(run, cwd=folder, env=dict(idle.environment), capture_output=True, text=True, timeout=900)
    assert "Nothing to be done" in again.stdout + again.stderr
    made = (bundle / "manifest.json").read_bytes()
    refused = [*run, "--forcerun", "shard", "sample", "--submitit-partition", "nosuch"]
    done = subprocess.run(refused, cwd=folder, env=dict(idle.environment), capture_output=True, text=True, timeout=900)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "invalid partition specified: nosuch" in said and "steps, loss" not in said
    assert said.count("could not be submitted") == 1, "all three shards in one line"
    assert (bundle / "manifest.json").read_bytes() == made, "who never ran has spoilt nothing"
    shutil.rmtree(bundle)
    by_hand = [sys.executable, "-m", "dlm", "sample", "llada-instruct-sft", "--bundle", "1", "--scale", "micro"]
    subprocess.run([*by_hand, "--processes", "2"], cwd=folder, check=True, timeout=600)
    assert without_seconds(bundle) == whole


def without_seconds(bundle: Path) -> str:
    text, count = re.subn(r'"seconds": [0-9.e-]+', '"seconds": 0', (bundle / "records.jsonl").read_text())
    assert count > 20
    return text
