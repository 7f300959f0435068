"""What a person wrote behind Snakemake's ``--config``, read before Snakemake reads it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from dlm.errors import DlmError, SettingsError

_FLAGS = ("--config", "-C")


def check_config(arguments: Sequence[str] | None = None) -> None:
    """End the program in one line where a `--config` entry is no key=value, which gives Snakemake a traceback.

    Args:
        arguments: of the command line; None: this process's.
    """
    try:
        refuse_bare(sys.argv[1:] if arguments is None else arguments)
    except SettingsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def asks_for_gpus(arguments: Sequence[str] | None = None) -> bool:
    """Whether the params of the asked-for scale have models run on GPUs; False where they cannot be read.

    A profile that asks for other resources then has no better answer, and the Snakefile says what is wrong.

    Args:
        arguments: of the command line; None: this process's.
    """
    from dlm.params import load_plan

    try:
        return load_plan(_scale(sys.argv[1:] if arguments is None else arguments)).gpus > 0
    except DlmError:
        return False


def _scale(arguments: Sequence[str]) -> str:
    """The scale behind `--config`; without one, that of the Snakefile."""
    said = [word.partition("=")[2] for word in arguments if word.startswith("scale=")]
    return said[-1] if said else "tiny"


def refuse_bare(arguments: Sequence[str]) -> None:
    """Refuse a `--config` entry without a value.

    Raises:
        SettingsError: names the entry, and what was probably meant.
    """
    inside = False
    for place, word in enumerate(arguments):
        inside = word in _FLAGS or (inside and not word.startswith("-"))
        if not inside or word in _FLAGS or "=" in word:
            continue
        if "/" in word or word == "all":
            raise SettingsError(f"--config {word}: no key=value; targets stand before --config")
        value = next((f"={each}" for each in arguments[place + 1 : place + 2] if not each.startswith("-")), "=…")
        raise SettingsError(f"--config {word}: no key=value; write --config {word}{value}")
