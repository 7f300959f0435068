"""``dlm sample --prompt`` and ``dlm infill``: a checkpoint asked by a person at a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlm.errors import SettingsError
from dlm.params.options import Options
from dlm.progress import legible, say, warn
from dlm.settings import ExecutionSettings, settable

if TYPE_CHECKING:
    from dlm.sampling import Sample

BLANK = re.compile(r"\[MASK(?:\*(\d+))?\]")
"""A blank of one token, or of as many as the number says: `[MASK]`, `[MASK*8]`."""
_LIKE_A_BLANK = re.compile(r"\[MASK[^\]]*\]")

OPTIONS = Options("--set")


def decoding_options(function: Any) -> Any:
    """Add the options that choose a decoding method, and that which tells the order of decoding."""
    when = "Also print which pass committed each token, and how sure the model was of it."
    return method_options(click.option("--order", is_flag=True, help=when)(function))


def method_options(function: Any) -> Any:
    """Add the options that choose a decoding method and where it runs."""
    preset = click.option(
        "--preset", help="A published method instead of the checkpoint's own; a wrong name lists them all."
    )
    told = (
        "A setting of the method, e.g. max_new_tokens=64; may be given several times. A list or a part is written as "
        "JSON: --set 'guidance={\"scale\": 1.5}'."
    )
    change = click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help=told)
    where = "auto (default: cuda where there is one), cpu, cuda or cuda:<number>."
    device = click.option("--device", default="auto", help=where)
    kinds = click.Choice(["float32", "bfloat16", "float16"])
    dtype = click.option("--dtype", type=kinds, default="float32", show_default=True, help="Type of the numbers.")
    return preset(change(device(dtype(function))))


def answer(
    folder: Path,
    prompt: str,
    seed: int,
    preset: str | None,
    changes: Sequence[str],
    *,
    device: str = "auto",
    dtype: Any = "float32",
    order: bool = False,
) -> str:
    """Return a checkpoint's answer to a chat of one message; ``order``: and when each token of it was committed."""
    if not prompt.strip():
        raise SettingsError("--prompt is empty; write what is to be answered")
    read = read_changes(preset, changes)
    from dlm.sampling import Sampler

    denoiser = load(folder, device, dtype)
    chat = [{"role": "user", "content": prompt}]
    text = denoiser.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    sampler = Sampler(denoiser, chosen(denoiser, preset, read), seed=seed, record_order=order)
    found = sampler.sample([text])[0]
    if not found.text:
        say("the answer is empty: the model ended it at once")
    stops = (place for place, token in enumerate(found.tokens) if token in sampler.stop_token_ids)
    return found.text + (_order(denoiser, found, next(stops, len(found.tokens))) if order else "")


@click.command()
@click.argument("text")
@click.option("--model", type=click.Path(path_type=Path), required=True, help="A checkpoint folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of random numbers.")
@decoding_options
def infill(
    text: str,
    model: Path,
    seed: int,
    preset: str | None,
    changes: tuple[str, ...],
    order: bool,
    device: str,
    dtype: Any,
) -> None:
    """Fill the blanks of TEXT and print it: [MASK] is one token, [MASK*8] are eight."""
    read = read_changes(preset, changes)
    if wrong := [blank for blank in _LIKE_A_BLANK.findall(text) if not BLANK.fullmatch(blank)]:
        raise SettingsError(f"TEXT holds {wrong[0]}, which is no blank; write [MASK] for a token, [MASK*8] for eight")
    if not any(int(number or 1) for number in BLANK.findall(text)):
        raise SettingsError("TEXT holds no blank; write [MASK] for a token, [MASK*8] for eight")
    from dlm.sampling import Sampler

    denoiser = load(model, device, dtype)
    tokens: list[int] = []
    for number, piece in enumerate(BLANK.split(text)):
        if number % 2 == 0:
            tokens += denoiser.tokenizer.encode(piece, add_special_tokens=False)
        if number % 2 == 1:
            tokens += [denoiser.mask_token_id] * int(piece or 1)
    settings = chosen(denoiser, preset, read)
    found = Sampler(denoiser, settings, seed=seed, record_order=order).infill([tokens])[0]
    click.echo(displayed(found.text + (_order(denoiser, found, len(tokens)) if order else "")))


def displayed(text: str) -> str:
    """Return what a model wrote as it goes to the output: to a terminal, nothing that it would obey."""
    return legible(text) if sys.stdout.isatty() else text


def load(folder: Path, device: str, dtype: Any) -> Any:
    """Return a checkpoint on a device, with all threads that torch takes by itself."""
    execution = ExecutionSettings(device=device, dtype=dtype)
    import torch

    from dlm.models import load_denoiser

    return load_denoiser(folder, replace(execution, threads=min(torch.get_num_threads(), 256)))


def _order(denoiser: Any, sample: Sample, end: int) -> str:
    """Return lines that tell when the tokens up to place ``end`` were committed; what follows is filler."""
    from dlm.ordering import order_tau

    assert sample.steps is not None and sample.confidences is not None
    written = [place for place, step in enumerate(sample.steps) if step >= 0]
    shown = [place for place in written if place <= end]  # with the token that ended the text
    lines = [f"{'place':>5} {'pass':>5} {'confidence':>10}  token"]
    for place in shown:
        token = denoiser.tokenizer.decode([sample.tokens[place]])
        lines.append(f"{place:>5} {sample.steps[place]:>5} {sample.confidences[place]:>10.6f}  {token!r}")
    tau = order_tau(sample.steps[:end])
    ranked = "no order" if tau is None else f"Kendall's tau {tau:.2f} (1: left to right, 0: neither, -1: right to left)"
    filler = f" and {len(written) - len(shown)} of filler" if len(written) > len(shown) else ""
    return "\n".join(["", "", *lines, f"{len(shown)} tokens{filler} in {sample.forward_passes} passes; {ranked}"])


def chosen(denoiser: Any, name: str | None, values: Mapping[str, Any]) -> Any:
    """Return the settings of a preset, or the checkpoint's own, with their changes; warn where they do not fit it."""
    from dlm.sampling import default_settings, misfits

    settings = OPTIONS.decoding(name, values, default_settings(denoiser), denoiser.max_positions)
    for line in misfits(denoiser.conventions, settings):
        warn(line)
    return settings


def read_changes(name: str | None, changes: Sequence[str]) -> dict[str, Any]:
    """Return the changes by key; of a preset they are checked before the checkpoint is loaded.

    Raises:
        SettingsError: no such preset, or a change that is not ``KEY=VALUE``, or of the wrong type.
    """
    values = {}
    for change in changes:
        key, given, value = change.partition("=")
        if not given:
            raise SettingsError(f"--set {change}: expected KEY=VALUE, as in max_new_tokens=64")
        values[key] = value_of(value)
    return values if name is None else OPTIONS.typed(values, settable(name))


def value_of(text: str) -> Any:
    """Return a number, true, false or a list as JSON has it, anything else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
