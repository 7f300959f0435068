"""A user's mistake ends in one line on standard error and a non-zero exit code, never in a traceback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import without_torch

from dlm.cli.common import logged
from dlm.progress import say

WITHOUT_TORCH = (sys.executable, without_torch.__file__, "-m", "dlm")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(repository / "params", folder / "params")
    shutil.copy(repository / "Snakefile", folder / "Snakefile")
    return folder


def dlm(
    project: Path, *arguments: str, program: tuple[str, ...] = (sys.executable, "-m", "dlm")
) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program, *arguments], cwd=project, capture_output=True, text=True, timeout=280)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "llada-base", "--scale", "tinny"], "unknown scale 'tinny': did you mean 'tiny'?"),
        (["train", "lada-base"], "has no checkpoint named 'lada-base': did you mean 'llada-base'?"),
        (["train", "dream-opened"], "of kind 'convert', which `dlm train` does not make"),
        (["convert", "llada-base"], "of kind 'train', which `dlm convert` does not make"),
        (["convert", "/no/such/folder", "out"], "/no/such/folder: no such folder, and no hub id"),
        (["prepare", "korpus"], "has no data named 'korpus': did you mean 'corpus'?"),
        (["sample", "dream-parent"], "no table of scale 'tiny' evaluates checkpoint 'dream-parent'"),
        (
            ["sample", "llada-base", "--scale", "paper"],
            "params/paper.yaml: humaneval, mbpp, humaneval_base, mbpp_base: would",
        ),
        (["score", "llada-base", "--scale", "paper"], "write `sandbox: {}` to have them run on the"),
        (["train", "llada-base", "--scale", ""], "unknown scale '': known: micro, paper, tiny"),
        (["train", "llada-base", "--scale", "../x"], "unknown scale '../x': known"),
        (["train", ""], "has no checkpoint named '': known: "),
        (["prepare", "corpus", "--log", "params"], "params: Is a directory; make place or access for it"),
        (["table", "tabel1"], "has no table named 'tabel1': did you mean 'table1'?"),
        (["lineage", "table1", "--scale", "tinny"], "unknown scale 'tinny': did you mean 'tiny'?"),
        (["lineage", "table1"], "no table 'table1' at scale 'tiny'; none is made yet: snakemake makes"),
        (["verify", "params"], "params: no reference case in it; expected forward/*.json"),
        (["verify", "params", "--kind", "mask"], "kind: unknown 'mask'; did you mean 'masks'?"),
    ],
)
def test_a_wrong_name_is_one_line(project: Path, arguments: list[str], message: str) -> None:
    """Before torch is imported, which takes seconds: here there is none."""
    done = dlm(project, *arguments, program=WITHOUT_TORCH)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "Missing argument 'NAME'"),
        (["trian", "x"], "No such command 'trian'"),
        (["sample"], "give the NAME of a checkpoint"),
        (["sample", "--prompt", "hi"], "--prompt needs --model DIR"),
    ],
)
def test_wrong_usage_is_explained(project: Path, arguments: list[str], message: str) -> None:
    done = dlm(project, *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_outside_a_project_the_command_says_where_to_run(tmp_path: Path) -> None:
    done = dlm(tmp_path, "train", "llada-base")
    assert done.returncode == 2
    assert "no project here" in done.stderr and done.stderr.count("\n") == 1


def test_a_missing_input_is_named(project: Path) -> None:
    done = dlm(project, "train", "llada-base")
    assert done.returncode == 2
    assert "results/tiny/data/" in done.stderr and "Traceback" not in done.stderr


def test_the_log_says_why_the_work_ended(project: Path) -> None:
    """Snakemake shows a failed job's log, and little else of what the job said."""
    done = dlm(project, "train", "llada-base", "--log", "train.log")
    assert (project / "train.log").read_text().splitlines()[-1] == done.stderr.splitlines()[-1]
    assert done.stderr.startswith("error: ")


def test_the_log_holds_the_traceback_of_a_mistake_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), logged(tmp_path / "work.log"):
        say("at work")
        print(1 / 0)
    lines = (tmp_path / "work.log").read_text().splitlines()
    assert (
        lines[0] == "at work"
        and lines[1].startswith("Traceback")
        and lines[-1] == "ZeroDivisionError: division by zero"
    )


def test_help_lists_the_verbs_without_loading_torch(project: Path) -> None:
    code = "import sys, dlm.cli; sys.argv = ['dlm', '--help']; dlm.cli.main(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=280)
    assert all(verb in done.stdout for verb in ("prepare", "train", "convert", "sample", "score", "table"))
    assert done.stdout.rstrip().endswith("False")
