"""`dlm watch`: an answer as it comes about, live or recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlm.cli.answering import chosen, load, method_options, read_changes
from dlm.cli.common import made_at, scale_option
from dlm.errors import DataError, SettingsError, did_you_mean
from dlm.progress import say

if TYPE_CHECKING:
    from dlm.watching import Trace

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--prompt", help="Answer this prompt now, with --model.")
@click.option("--model", type=click.Path(path_type=Path), help="A checkpoint folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of random numbers, with --prompt.")
@method_options
@click.option("--records", "address", metavar="ROW", help="A recorded answer of this row: [TABLE:]MODEL/TASK/SETTING.")
@click.option("--document", metavar="ID", help="Which of the row's documents.  [default: the first]")
@click.option("--trace", "saved", type=_FILE, help="A trace that --save wrote.")
@click.option("--fps", type=click.FloatRange(0.1, 50), default=8.0, show_default=True, help="Pictures a second.")
@click.option("--save", type=_FILE, help="Keep the trace in this file (.json).")
@click.option("--gif", type=_FILE, help="Draw it as an animated GIF.")
@click.option("--html", type=_FILE, help="Write a web page that plays it; it needs no network.")
@click.option("--no-play", is_flag=True, help="Only write files.")
@scale_option
def watch(
    prompt: str | None,
    model: Path | None,
    seed: int,
    preset: str | None,
    changes: tuple[str, ...],
    device: str,
    dtype: Any,
    address: str | None,
    document: str | None,
    saved: Path | None,
    fps: float,
    save: Path | None,
    gif: Path | None,
    html: Path | None,
    no_play: bool,
    scale: str,
) -> None:
    """Watch an answer emerge from masks: one that is sampled now (--prompt), recorded (--records) or saved (--trace).

    Records hold what it takes where the params say `execution: {record_order: true}`.
    """
    if sum(source is not None for source in (prompt, address, saved)) != 1:
        raise click.UsageError("give one of --prompt TEXT (with --model DIR), --records ROW and --trace FILE")
    if (prompt is None) != (model is None):
        raise click.UsageError("--prompt and --model go together")
    if prompt is None and (preset or changes):
        raise click.UsageError("--preset and --set go with --prompt; what is recorded was decoded as it was")
    if document is not None and address is None:
        raise click.UsageError("--document goes with --records")
    outputs = [path.absolute() if path else None for path in (save, gif, html)]
    if prompt is not None:
        assert model is not None
        trace = _live(model, prompt, seed, preset, changes, device, dtype, fps=None if no_play else fps)
    else:
        trace = _recorded(scale, str(address), document) if saved is None else _saved(saved)
        if not no_play:
            _play(trace, fps)
    _write(trace, fps, *outputs)


def _live(
    folder: Path,
    prompt: str,
    seed: int,
    preset: str | None,
    changes: Sequence[str],
    device: str,
    dtype: Any,
    *,
    fps: float | None,
) -> Trace:
    """Sample an answer while it is shown; ``fps`` None: without showing it."""
    import dataclasses

    if not prompt.strip():
        raise SettingsError("--prompt is empty; write what is to be answered")
    read = read_changes(preset, changes)
    from dlm.sampling import Sampler
    from dlm.settings.telling import flat
    from dlm.watching import Recorder, Speller
    from dlm.watching.conversation import Conversation
    from dlm.watching.terminal import Viewer

    denoiser = load(folder, device, dtype)
    settings = chosen(denoiser, preset, read)
    text = Conversation(denoiser, settings).prompt(prompt)
    speller = Speller.of_tokenizer(denoiser.tokenizer)
    sampler = Sampler(denoiser, settings, seed=seed)
    if fps is None:
        recorder = Recorder(speller)
        sampler.sample([text], watch=recorder)
    else:
        special = {speller.decode([token]) for token in speller.special}
        with Viewer(_console(), text, special, fps) as viewer:
            recorder = Recorder(speller, viewer.show)
            sampler.sample([text], watch=recorder)
    told = flat(dataclasses.asdict(settings)) | {"seed": str(seed)}
    return recorder.trace(folder.resolve().name, text, told)


def _recorded(scale: str, address: str, document: str | None) -> Trace:
    from dlm.inspection import answers_of, find_row
    from dlm.inspection.answers import record_of
    from dlm.settings.telling import flat
    from dlm.watching import Speller, trace_of_record

    row = find_row(made_at(scale), address)
    answers = {str(answer.doc_id): answer for answer in answers_of(row)}
    document = document or next(iter(answers))
    if document not in answers:
        raise SettingsError(f"{row.address} was not asked document '{document}'; {did_you_mean(document, answers)}")
    found = record_of(row, answers[document])
    if found is None:
        raise DataError(f"{row.address}, document '{document}': its record is not here; `dvc pull`, or sample again")
    speller = Speller.of_folder(row.layout.folder("checkpoints", row.checkpoint))
    try:
        return trace_of_record(found.record, speller, row.checkpoint, flat(found.settings))
    except DataError as error:
        raise DataError(f"{found.path}: {error}") from error


def _saved(path: Path) -> Trace:
    from dlm.watching import read_trace

    return read_trace(path)


def _play(trace: Trace, fps: float) -> None:
    from dlm.watching.terminal import play

    play(trace, _console(), fps)


def _write(trace: Trace, fps: float, save: Path | None, gif: Path | None, html: Path | None) -> None:
    if save:
        from dlm.watching import write_trace

        write_trace(save, trace)
        say(f"watch: trace in {save}")
    if gif:
        from dlm.watching.gif import write_gif

        write_gif(gif, trace, fps)
        say(f"watch: GIF in {gif}")
    if html:
        from dlm.watching.page import write_page

        write_page(html, trace)
        say(f"watch: page in {html}")


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)
