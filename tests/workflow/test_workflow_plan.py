"""Snakemake before any job starts: the plan is printed in seconds, bad params end in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from sharing import processor_seconds


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Path:
    compiled = shutil.ignore_patterns("__pycache__")  # where others write, and take away, at the same time
    for name in ("params", "workflow", "profiles", "data"):
        shutil.copytree(repository / name, tmp_path / name, ignore=compiled)
    shutil.copy(repository / "Snakefile", tmp_path / "Snakefile")
    return tmp_path


def snakemake(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": str(project / ".cache")}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=280, env=environment)


def plan_without_torch(project: Path, repository: Path, scale: str, *tables: str) -> str:
    """What `snakemake -n` prints where torch cannot be imported."""
    blocked = project / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise ImportError('a plan must not import torch')\n")
    environment = {**os.environ, "PYTHONPATH": f"{blocked}{os.pathsep}{repository}"}
    targets = [f"results/tables/{table}.csv" for table in tables]
    run = partial(processor_seconds, cwd=project, environment=environment)
    status, printed, seconds = run([sys.executable, "-m", "snakemake", "-n", *targets, "--config", f"scale={scale}"])
    assert status == 0, printed
    *_, start = run([sys.executable, "-m", "snakemake", "--version"])  # what this machine takes for its modules alone
    print(f"{seconds:.1f} s, of them {start:.1f} s to start")
    assert seconds < max(12, 8 * start)
    return printed


@pytest.mark.parametrize("scale", ["tiny", "micro", "paper"])
def test_the_whole_plan_is_printed_in_seconds_without_torch(project: Path, repository: Path, scale: str) -> None:
    printed = plan_without_torch(project, repository, scale, "table1")
    models = ("llada-base", "llada-instruct", "dream-base", "dream-instruct")
    for model in models:
        for job in (f"sample {model}/1", f"score {model}/1", f"sample {model}-sft/1", f"score {model}-sft/1"):
            assert f"{job}\n" in printed
        assert f"train {model}-sft\n" in printed


PAPERS = {
    "table2": "prepare tulu3, prepare smoltalk, convert modernbert-large, train modernbert-large-chat, "
    "convert gpt2-medium, score gpt2-medium/1, score modernbert-base-chat/1",
    "table3": "prepare opc_stage2, convert qwen3-0.6b, convert qwen3-0.6b-opened, train qwen3-0.6b-mdlm, "
    "train qwen3-0.6b-bd3lm, score qwen3-0.6b-bd3lm/1, score qwen2.5-0.5b/1",
    "llada_base": "prepare ceval, convert llada-base, sample llada-base/2",
    "llada_instruct": "prepare gpqa, convert llada-instruct, score llada-instruct/3",
    "dream_base": "prepare race, convert dream-base, sample dream-base/2",
    "dream_instruct": "prepare ifeval, convert dream-instruct, score dream-instruct/2",
    "fastdllm_llada": "sample llada-instruct/5, table fastdllm_llada",
    "fastdllm_dream": "sample dream-base/3, table fastdllm_dream",
}


def test_the_papers_other_tables_are_planned(project: Path, repository: Path) -> None:
    printed = plan_without_torch(project, repository, "paper", *PAPERS)
    wanted = [step for steps in PAPERS.values() for step in steps.split(", ")]
    assert [step for step in wanted if f"{step}\n" not in printed] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "scale=huge"], "unknown scale 'huge': known: micro, paper, tiny"),
        (["--config", "scale="], "unknown scale '': known: micro, paper, tiny"),
        (["--config", "scale=../x"], "unknown scale '../x': known: micro, paper, tiny"),
        (["--config", "scael=tiny"], "--config scael: unknown key"),
        (["--set-resources", "trian:runtime=1"], "--set-resources: there is no 'trian'; did you mean 'train'?"),
        (["--set-scatter", "documnets=2"], "--set-scatter: there is no 'documnets'; did you mean 'documents'?"),
        (["--config", "scale", "micro"], "--config scale: no key=value; write --config scale=micro"),
    ],
)
def test_a_bad_name_ends_in_one_line(project: Path, arguments: list[str], message: str) -> None:
    done = snakemake(project, "results/tables/table1.csv", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate: 3.0e-3", "learning_rte: 3.0e-3", "learning_rte: unknown key; did you mean 'learning_rate'?"),
        ("execution: {", "execution: [", "broken YAML"),
        (
            "{model: llada-base, ",
            "{model: lada-base, ",
            "no checkpoint is named 'lada-base'; did you mean 'llada-base'?",
        ),
    ],
)
def test_bad_params_end_in_one_line_before_any_job(project: Path, old: str, new: str, message: str) -> None:
    """Of each kind one: an unknown key, text that is no YAML, a reference. tests/params has the others."""
    path = project / "params" / "tiny.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    done = snakemake(project, "results/tables/table1.csv")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert line.startswith("error: params/tiny.yaml:") and message in line
    assert "Traceback" not in done.stderr
    assert not (project / "results").exists()


def test_a_table_that_no_one_defines_is_refused_with_the_nearest(project: Path) -> None:
    done = snakemake(project, "results/tables/tabel1.csv")
    assert done.returncode == 2
    assert "error: scale 'tiny' has no table named 'tabel1': did you mean 'table1'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["results/tables/table1.csv", "table1_checkpoints"])
def test_a_table_that_would_run_what_models_write_is_refused_before_any_job(project: Path, target: str) -> None:
    published = project / "results" / "tables" / "table1.csv"
    published.parent.mkdir(parents=True)
    published.write_text("another scale's\n")
    done = snakemake(project, target, "--config", "scale=paper")
    assert published.exists(), "what a refused run would not replace stays"
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [done.stderr.splitlines()[-1]]
    assert "params/paper.yaml: humaneval, mbpp: would run programs that the models write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "results" / "paper").exists()


def test_a_table_of_another_scale_is_not_left_standing(project: Path) -> None:
    published = project / "results" / "tables"
    published.mkdir(parents=True)
    (published / "table1.csv").write_text("another scale's\n")
    kept = snakemake(project, "-n", "results/tables/table1.csv")
    assert kept.returncode == 0 and (published / "table1.csv").exists(), "a dry run changes nothing"
    assert "publish table1 at scale tiny" in kept.stdout + kept.stderr
    # The run fails (its first command is broken), but the stale copy is gone all the same.
    (project / "workflow" / "rules" / "prepare.smk").write_text(
        (project / "workflow" / "rules" / "prepare.smk").read_text().replace("{DLM} prepare", "false")
    )
    assert snakemake(project, "results/tables/table1.csv").returncode != 0
    assert not (published / "table1.csv").exists()
