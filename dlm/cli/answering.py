"""``dlm sample --prompt`` and ``dlm infill``: a checkpoint asked by a person at a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dlm.errors import SettingsError

BLANK = re.compile(r"\[MASK(?:\*(\d+))?\]")
"""A blank of one token, or of as many as the number says: `[MASK]`, `[MASK*8]`."""

_LENGTH = 128
"""Answer positions where none are given: those of ZHZisZZ/dllm's samplers."""


def decoding_options(function: Any) -> Any:
    """Add the options that choose a decoding method."""
    preset = click.option("--preset", help="A published method, e.g. dream or fast-dllm-llada-dual, not its own.")
    change = click.option(
        "--set", "changes", multiple=True, metavar="KEY=VALUE", help="A setting of the preset, e.g. max_new_tokens=64."
    )
    return preset(change(function))


def answer(folder: Path, prompt: str, seed: int, preset: str | None, changes: Sequence[str]) -> str:
    """Return a checkpoint's answer to a chat of one message."""
    settings = _settings(preset, changes)
    from dlm.models import load_denoiser
    from dlm.sampling import Sampler

    denoiser = load_denoiser(folder)
    chat = [{"role": "user", "content": prompt}]
    text = denoiser.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return Sampler(denoiser, settings, seed=seed).sample([text])[0].text


@click.command()
@click.argument("text")
@click.option("--model", type=click.Path(path_type=Path), required=True, help="A checkpoint folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of random numbers.")
@decoding_options
def infill(text: str, model: Path, seed: int, preset: str | None, changes: tuple[str, ...]) -> None:
    """Fill the blanks of TEXT and print it: [MASK] is one token, [MASK*8] are eight."""
    settings = _settings(preset, changes)
    if not BLANK.search(text):
        raise SettingsError("TEXT holds no blank; write [MASK] for a token, [MASK*8] for eight")
    from dlm.models import load_denoiser
    from dlm.sampling import Sampler

    denoiser = load_denoiser(model)
    tokens: list[int] = []
    for number, piece in enumerate(BLANK.split(text)):
        if number % 2 == 0:
            tokens += denoiser.tokenizer.encode(piece, add_special_tokens=False)
        if number % 2 == 1:
            tokens += [denoiser.mask_token_id] * int(piece or 1)
    click.echo(Sampler(denoiser, settings, seed=seed).infill([tokens])[0].text)


def _settings(name: str | None, changes: Sequence[str]) -> Any:
    """Return the preset with its changes; None, the checkpoint's own method, where no preset is given.

    Raises:
        SettingsError: changes without a preset, or one that is not ``KEY=VALUE``.
    """
    if name is None:
        if changes:
            raise SettingsError("--set needs --preset NAME; the checkpoint's own method is taken as it is")
        return None
    from dlm.settings import preset

    values: dict[str, Any] = {"max_new_tokens": _LENGTH}
    for change in changes:
        key, given, value = change.partition("=")
        if not given:
            raise SettingsError(f"--set {change}: expected KEY=VALUE, as in max_new_tokens=64")
        values[key] = _value(value)
    try:
        return preset(name, **values)
    except TypeError as error:
        raise SettingsError(f"--set: {error}") from error


def _value(text: str) -> Any:
    """Return a number, true, false or a list as JSON has it, anything else as text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value
