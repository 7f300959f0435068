"""`dlm verify` on the reference cases of tests/parity: all that is supported passes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from dlm.cli import cli
from dlm.errors import DataError, SettingsError
from dlm.verification import KINDS, Outcome, verify
from dlm.verification.run import RUNNERS


@pytest.fixture(scope="module")
def outcomes(repository: Path) -> list[Outcome]:
    return verify(repository / "tests" / "parity")


def test_every_case_of_a_supported_kind_passes(outcomes: list[Outcome]) -> None:
    assert [outcome.line for outcome in outcomes if outcome.problems] == []
    counts = Counter(outcome.case.kind for outcome in outcomes)
    assert {kind: counts[kind] for kind in ("forward", "likelihood", "loss", "schedules", "masks")} == {
        "forward": 8, "likelihood": 21, "loss": 32, "schedules": 770, "masks": 10,
    }  # fmt: skip


def test_every_published_sampler_is_read(outcomes: list[Outcome]) -> None:
    sampled = [outcome for outcome in outcomes if outcome.case.kind == "sampling"]
    assert [outcome.line for outcome in sampled if outcome.problems] == []
    assert Counter(outcome.case.file.stem for outcome in sampled) == {
        "dllm_bd3lm": 17, "dllm_dream_infill": 3, "dllm_dream_sample": 11, "dllm_fastdllm_dream": 8,
        "dllm_fastdllm_llada": 19, "dllm_mdlm_infill": 9, "dllm_mdlm_sample": 18, "dream_official": 12,
        "fastdllm_dream": 14, "fastdllm_llada": 19, "llada_official": 23,
    }  # fmt: skip


def part(repository: Path, tmp_path: Path, *files: str) -> Path:
    """A reference of some files only."""
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / "tests" / "parity" / file, tmp_path / file)
    return tmp_path


def test_the_command_prints_a_line_a_case_and_the_counts(repository: Path, tmp_path: Path) -> None:
    folder = part(repository, tmp_path, "masks/bd3lm_masks.json")
    done = CliRunner().invoke(cli, ["verify", str(folder)])
    lines = done.stdout.splitlines()
    assert (len(lines), done.exit_code) == (11, 0)
    assert (lines[0], lines[-1]) == ("passed masks/bd3lm_train_mask_4_2", "10 passed, 0 failed")


def test_a_failure_ends_in_a_non_zero_exit_code(repository: Path, tmp_path: Path) -> None:
    file = part(repository, tmp_path, "masks/bd3lm_masks.json") / "masks" / "bd3lm_masks.json"
    whole = json.loads(file.read_text())
    whole["cases"][2]["rows"][3] = "0" * 16
    file.write_text(json.dumps(whole))
    done = CliRunner().invoke(cli, ["verify", str(tmp_path), "--kind", "masks"])
    assert done.exit_code == 1
    assert done.stdout.splitlines()[2] == (
        "FAILED masks/bd3lm_train_mask_8_2: rows[3]: '0000000000000000' recorded, '0011000011000000' computed"
    )
    assert done.stdout.endswith("9 passed, 1 failed\n")


def test_the_folder_of_a_kind_is_a_reference_too(repository: Path) -> None:
    assert len(verify(repository / "tests" / "parity" / "masks")) == 10


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("{", "FAILED loss/loss.json: cannot be read: Expecting property name"),
        ("[]", "FAILED loss/loss.json: expected an object with a list of cases"),
        ('{"format_version": 2, "cases": []}', "FAILED loss/loss.json: format_version 1 expected, got 2"),
        ('{"format_version": 1, "cases": [7]}', "FAILED loss/loss.json[0]: expected fields, got 7"),
        ('{"format_version": 1, "cases": [{"id": "x"}]}', "FAILED loss/x: field 'kind' is missing"),
        ('{"format_version": 1, "cases": [{"id": "x", "seed": 1}]}', "FAILED loss/x: unknown field 'seed'"),
    ],
)
def test_what_cannot_be_read_fails_in_one_line(tmp_path: Path, written: str, line: str) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "loss.json").write_text(written)
    (outcome,) = verify(tmp_path)
    assert outcome.line.startswith(line) and "\n" not in outcome.line


@pytest.mark.parametrize(
    ("kind", "file", "changes", "line"),
    [
        ("loss", "loss/loss.json", {"checkpoint": "gone"}, "checkpoint 'gone': no checkpoints/gone/config.json"),
        ("loss", "loss/loss.json", {"checkpoint": "../x"}, "checkpoint '../x': no checkpoints/../x/config.json"),
        ("loss", "loss/loss.json", {"labels": [[1]]}, "labels: shape [1, 1], but there are [2, 16] tokens"),
        ("loss", "loss/loss.json", {"t": [0.5, "x"]}, "t: expected a number, got 'x'"),
        ("loss", "loss/loss.json", {"loss": float("nan")}, "loss: expected a number, got nan"),
        ("forward", "forward/index.json", {"file": "forward/gone.npz"}, "file: no 'forward/gone.npz' beside the cases"),
        ("forward", "forward/index.json", {"file": "../gone.npz"}, "file: no '../gone.npz' beside the cases"),
        ("forward", "forward/index.json", {"file": "forward/index.json"}, "forward/index.json: cannot be read"),
        ("schedules", "schedules/schedules.json", {"source": "other"}, "source: expected one of llada, dllm"),
        ("schedules", "schedules/schedules.json", {"steps": 0}, "steps: expected a whole number from 1 to 65536"),
    ],
)  # fmt: skip
def test_a_malformed_case_fails_in_one_line(
    repository: Path, tmp_path: Path, kind: str, file: str, changes: dict[str, object], line: str
) -> None:
    path = part(repository, tmp_path, file) / file
    whole = json.loads(path.read_text())
    whole["cases"] = [{**whole["cases"][0], **changes}]
    path.write_text(json.dumps(whole))
    (outcome,) = verify(tmp_path, kind)
    assert line in outcome.line and "\n" not in outcome.line and "Error" not in outcome.line


def test_a_checkpoint_that_cannot_be_converted_fails_its_cases(repository: Path, tmp_path: Path) -> None:
    folder = part(repository, tmp_path, "loss/loss.json", "checkpoints/llada/config.json")
    first = verify(folder)[0]
    assert first.problems and "safetensors" in first.line


def test_no_case_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reference case in it"):
        verify(tmp_path / "nowhere")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "m.json").write_text('{"format_version": 1, "cases": [{}]}')
    with pytest.raises(DataError, match="no reference case of kind 'loss'"):
        verify(tmp_path, "loss")


def test_an_unknown_kind_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown 'mask'; did you mean 'masks'"):
        verify(tmp_path, "mask")
    assert set(RUNNERS) == set(KINDS)
