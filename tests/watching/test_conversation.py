"""`dlm chat` and `dlm watch` at a small checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles import small_denoiser

from dlm.cli import cli
from dlm.errors import SettingsError
from dlm.models import save_denoiser
from dlm.settings import preset
from dlm.watching import read_trace
from dlm.watching.conversation import Conversation, broken_off

SETTINGS = preset("llada", max_new_tokens=4, suppress_tokens=(0, 2))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talking") / "model"
    save_denoiser(small_denoiser(), folder, name="talking", made_from={})
    return folder


def test_a_conversation_remembers_what_was_said() -> None:
    talk = Conversation(small_denoiser(), SETTINGS, system="k")
    first = talk.answer("b c").text
    assert talk.prompt("d") == f"k <|eot_id|> b c <|eot_id|> {first} <|eot_id|> d <|eot_id|> a"
    talk.reset()
    assert talk.prompt("d") == "k <|eot_id|> d <|eot_id|> a"
    assert Conversation(small_denoiser(), SETTINGS, system="k").answer("b c").text == first


def test_the_first_exchanges_make_room_for_the_last() -> None:
    talk = Conversation(small_denoiser(), SETTINGS)
    for word in "bcd":
        talk.answer(" ".join(word * 16))  # of 64 positions
    assert talk.forgotten == 1
    assert talk.prompt("e").startswith("c c c"), "the latest stay"
    with pytest.raises(SettingsError, match=r"the message takes 72 tokens; .* leave room for 60"):
        talk.prompt(" ".join("b" * 70))


def test_an_answer_that_is_broken_off_was_never_said() -> None:
    talk, told = Conversation(small_denoiser(), SETTINGS), []

    def interrupt(state: object) -> None:
        told.append("seen")
        if len(told) == 3:
            raise KeyboardInterrupt

    with broken_off(lambda: told.append("stopped")):
        talk.answer("b", watch=interrupt)
    assert told == ["seen", "seen", "seen", "stopped"]
    assert talk.turns == []
    assert talk.answer("b").tokens == Conversation(small_denoiser(), SETTINGS).answer("b").tokens


def test_a_pipe_gets_the_answers_alone(checkpoint: Path) -> None:
    asked = ["chat", "--model", str(checkpoint), "--preset", "llada", "--set", "suppress_tokens=[0, 2]"]
    lines = "b c\n/help\n/settings\n\n/settings max_new_tokens 3\nd\n/reset\n/rest\n"
    lines += "/settings steps\n/settings stps 3\nd\n/quit\nnever\n"
    done = CliRunner().invoke(cli, [*asked, "--set", "max_new_tokens=5"], input=lines, catch_exceptions=False)
    answers = done.stdout.splitlines()
    assert [len(answer.split()) for answer in answers] == [5, 3, 3]
    assert done.exit_code == 2, "some of the lines could not be obeyed"
    assert "/reset  " in done.stderr and "canvas.max_new_tokens: 5" in done.stderr
    assert "no command '/rest': did you mean '/reset'?" in done.stderr
    assert "/settings takes a name and a value" in done.stderr
    assert "there is no setting 'stps' here; did you mean 'steps'?" in done.stderr


def test_a_pipe_whose_lines_are_all_answered_ends_well(checkpoint: Path) -> None:
    asked = ["chat", "--model", str(checkpoint), "--preset", "llada", "--set", "max_new_tokens=5"]
    codes = [CliRunner().invoke(cli, asked, input=lines).exit_code for lines in ("b c\n", " ".join("b" * 70) + "\nb\n")]
    assert codes == [0, 2]


def test_a_live_answer_is_watched_and_kept(checkpoint: Path, tmp_path: Path) -> None:
    asked = ["watch", "--model", str(checkpoint), "--prompt", "b c", "--preset", "llada", "--set", "max_new_tokens=4"]
    files = ["--save", str(tmp_path / "t.json"), "--gif", str(tmp_path / "t.gif"), "--html", str(tmp_path / "t.html")]
    done = CliRunner().invoke(cli, [*asked, *files], catch_exceptions=False)
    assert [line.split(" · ")[0] for line in done.stdout.splitlines()] == [f"step {step}" for step in range(5)]
    assert all((tmp_path / f"t.{kind}").stat().st_size > 0 for kind in ("gif", "html"))
    trace = read_trace(tmp_path / "t.json")
    assert (trace.model, trace.prompt, len(trace.frames)) == ("model", "b c <|eot_id|> a", 5)
    again = CliRunner().invoke(cli, ["watch", "--trace", str(tmp_path / "t.json")], catch_exceptions=False)
    assert again.stdout.splitlines()[-1].split(" | ")[1] == done.stdout.splitlines()[-1].split(" | ")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --prompt TEXT (with --model DIR), --records ROW and --trace FILE"),
        (["--prompt", "b"], "--prompt and --model go together"),
        (["--trace", "x", "--preset", "llada"], "--preset and --set go with --prompt"),
        (["--trace", "x", "--document", "d"], "--document goes with --records"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(cli, ["watch", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
