"""A checkpoint asked at a terminal: `dlm sample --prompt` and `dlm infill`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles import small_denoiser, with_conventions

from dlm.cli import cli
from dlm.errors import SettingsError
from dlm.models import save_denoiser


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "model"
    save_denoiser(small_denoiser(), folder, name="asked", made_from={})
    return folder


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_prompt_is_answered_by_a_preset(checkpoint: Path) -> None:
    asked = ("sample", "--model", str(checkpoint), "--prompt", "b c", "--preset", "llada", "--set", "max_new_tokens=6")
    assert run(*asked) == run(*asked)
    assert len(run(*asked, "--set", "suppress_tokens=[0, 2]").split()) == 6


def test_a_method_for_another_kind_of_checkpoint_is_warned_of(tmp_path: Path) -> None:
    masked = with_conventions(small_denoiser(), objective="mdlm")
    save_denoiser(masked, tmp_path / "masked", name="masked", made_from={})
    asked = ("sample", "--model", str(tmp_path / "masked"), "--prompt", "b c", "--set", "max_new_tokens=6", "--preset")
    assert run(*asked, "bd3lm").count("warning: a growing canvas hides what follows a block") == 1
    assert "warning" not in run(*asked, "dream")


def test_the_checkpoints_own_method_with_another_length(checkpoint: Path) -> None:
    asked = ("sample", "--model", str(checkpoint), "--prompt", "b c", "--set", "suppress_tokens=[0, 2]")
    assert len(run(*asked, "--set", "max_new_tokens=5").split()) == 5


def test_the_order_of_decoding_is_told_token_by_token(checkpoint: Path) -> None:
    asked = ("sample", "--model", str(checkpoint), "--prompt", "b c", "--set", "suppress_tokens=[0, 2]")
    asked += ("--set", "max_new_tokens=5")
    text, _, head, *rows, summary = run(*asked, "--order").splitlines()
    assert text == run(*asked).strip()
    assert head.split() == ["place", "pass", "confidence", "token"]
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert sorted(row.split()[1] for row in rows) == ["0", "1", "2", "3", "4"]
    assert [row.split("'")[1] for row in rows] == text.split()
    assert summary.startswith("5 tokens in 5 passes; Kendall's tau ")
    filled = run("infill", "--model", str(checkpoint), "b [MASK] c", "--order").splitlines()
    assert filled[3].split()[:2] == ["1", "0"]
    assert filled[4] == "1 tokens in 1 passes; no order"


def test_blanks_are_filled(checkpoint: Path) -> None:
    words = run("infill", "--model", str(checkpoint), "b [MASK] c [MASK*2] d", "--preset", "mdlm").split()
    assert (words[0], words[-1]) == ("b", "d")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["infill", "--model", "m", "b c"], r"TEXT holds no blank; write \[MASK\]"),
        (["infill", "--model", "m", "[MASK*0]"], "TEXT holds no blank"),
        (["sample", "--model", "m", "--prompt", "b", "--preset", "lada"], "did you mean 'llada'"),
        (["sample", "--model", "m", "--prompt", "b", "--preset", "llada", "--set", "steps"], "expected KEY=VALUE"),
        (
            ["sample", "--model", "m", "--prompt", "b", "--preset", "llada", "--set", "steps=x"],
            "--set steps: expected a whole number",
        ),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_what_is_no_blank_is_refused(checkpoint: Path) -> None:
    done = CliRunner().invoke(cli, ["infill", "--model", str(checkpoint), "[MASK] x [MASK*-1]"])
    assert "TEXT holds [MASK*-1], which is no blank" in str(done.exception)


def test_a_device_and_a_type_can_be_chosen(checkpoint: Path) -> None:
    asked = ("sample", "--model", str(checkpoint), "--prompt", "a b")
    run(*asked, "--dtype", "bfloat16", "--device", "cpu")
    done = CliRunner().invoke(cli, [*asked, "--device", "cpux"])
    assert "device must be auto, cpu" in str(done.exception)


def test_a_model_that_is_no_checkpoint_is_told_apart(checkpoint: Path, tmp_path: Path, repository: Path) -> None:
    published = repository / "tests" / "parity" / "checkpoints" / "llada"
    (tmp_path / "file").write_text("")
    told = {tmp_path / "none": "no such folder", tmp_path / "file": "is a file", published: "dlm convert "}
    for folder, words in told.items():
        done = CliRunner().invoke(cli, ["sample", "--model", str(folder), "--prompt", "a b"])
        assert words in str(done.exception), folder
