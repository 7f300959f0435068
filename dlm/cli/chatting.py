"""`dlm chat`: a conversation with a checkpoint at a terminal, or line by line through a pipe."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlm.cli.answering import chosen, load, method_options, read_changes, value_of
from dlm.errors import DlmError, SettingsError, did_you_mean
from dlm.params.options import Options
from dlm.progress import say

if TYPE_CHECKING:
    from dlm.watching.conversation import Conversation

_HELP = """\
/reset                  forget what was said
/settings               list the decoding method's settings
/settings NAME VALUE    change one, such as /settings steps 16
/help                   this list
/quit                   leave (Ctrl-D does too)
Ctrl-C while an answer comes stops it; the conversation goes on."""
_COMMANDS = ("/reset", "/settings", "/help", "/quit")


@click.command()
@click.option("--model", type=click.Path(path_type=Path), required=True, help="A checkpoint folder.")
@click.option("--system", default="", help="A system message, before everything else.")
@click.option("--seed", default=0, show_default=True, help="Seed of random numbers.")
@method_options
def chat(
    model: Path, system: str, seed: int, preset: str | None, changes: tuple[str, ...], device: str, dtype: Any
) -> None:
    """Talk with a checkpoint in its chat template, and watch each answer emerge. /help lists the commands.

    Where the output is no terminal, lines of the input are messages, and answers alone are written; where one of them
    could not be answered, the command ends with code 2.
    """
    read = read_changes(preset, changes)
    from dlm.watching.conversation import Conversation

    denoiser = load(model, device, dtype)
    talk = Conversation(denoiser, chosen(denoiser, preset, read), seed=seed, system=system)
    if sys.stdout.isatty():
        say(f"{model.resolve().name}; /help lists the commands, Ctrl-D leaves")
        with contextlib.suppress(ImportError):  # editing and history of input(), where Python has it
            import readline  # noqa: F401
    failed = False
    while (line := _line()) is not None:
        if line in ("/quit", "/exit"):
            break
        try:
            _obey(talk, line) if line.startswith("/") else _answer(talk, line)
        except DlmError as error:
            say(f"error: {error}")
            failed = True
    if failed and not sys.stdout.isatty():
        sys.exit(DlmError.exit_code)


def _line() -> str | None:
    """Return the next line that says something; None: there is no more."""
    while True:
        try:
            line = input("> " if sys.stdout.isatty() else "").strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            say("\n/quit or Ctrl-D leaves")
            continue
        if line:
            return line


def _answer(talk: Conversation, message: str) -> None:
    from dlm.watching.conversation import broken_off

    with broken_off(lambda: say("stopped; the conversation goes on without this message")):
        if not sys.stdout.isatty():
            click.echo(talk.answer(message).text)
        else:
            _streamed(talk, message)
        if talk.forgotten:
            say(f"({talk.forgotten} of the first exchanges no longer fit and were left out; /reset begins anew)")


def _streamed(talk: Conversation, message: str) -> None:
    """Answer while the answer is shown."""
    from rich.console import Console

    from dlm.watching import Recorder, Speller
    from dlm.watching.terminal import Viewer

    speller = Speller.of_tokenizer(talk.denoiser.tokenizer)
    special = {speller.decode([token]) for token in speller.special}
    with _unechoed(), Viewer(Console(highlight=False), special=special, ends=True) as viewer:
        talk.answer(message, watch=Recorder(speller, viewer.show))


@contextlib.contextmanager
def _unechoed() -> Iterator[None]:
    """Keep what is typed meanwhile out of the drawing; it is read as the next message."""
    if not sys.stdin.isatty():
        yield
        return
    import termios  # of Unix, as terminals like this are

    before = termios.tcgetattr(sys.stdin)
    quiet = termios.tcgetattr(sys.stdin)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _obey(talk: Conversation, line: str) -> None:
    command, *arguments = line.split(maxsplit=2)
    if command == "/help":
        say(_HELP)
    elif command == "/reset":
        talk.reset()
        say("forgotten; a new conversation")
    elif command == "/settings" and len(arguments) != 1:
        _settings(talk, arguments)
    elif command == "/settings":
        raise SettingsError("/settings takes a name and a value, or nothing: /settings steps 16")
    else:
        raise SettingsError(f"no command '{command}': {did_you_mean(command, _COMMANDS)}")


def _settings(talk: Conversation, arguments: list[str]) -> None:
    from dlm.settings import changed, settable
    from dlm.settings.telling import flat

    if arguments:
        name, value = arguments
        typed = Options("/settings").typed({name: value_of(value)}, settable(talk.settings))
        talk.settings = changed(talk.settings, **typed)
        say(f"{name} is {value} from the next answer on")
        return
    for name, word in flat(dataclasses.asdict(talk.settings)).items():
        say(f"{name}: {word}")
