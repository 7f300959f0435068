"""A trace: an answer pass by pass, with all that it takes to show it again. Imports no torch.

The file (`.json`): ``{"format": "dlm-trace/1", "model", "prompt", "settings": {name: value}, "special": [texts],
"frames": [{"passes", "seconds", "length", "written": [[place, text], …], "reopened": [place, …]}, …]}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlm.errors import DataError
from dlm.files import read_json, write_json
from dlm.watching.tokens import Speller, pieces

FORMAT = "dlm-trace/1"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What one forward pass changed."""

    passes: int
    """Forward passes so far; 0: the canvas before the first."""
    seconds: float
    """Since the beginning, what was spent on showing it left out."""
    length: int
    """Answer positions on the canvas: all of them, or those of the blocks that have begun."""
    written: Mapping[int, str] = field(default_factory=dict)
    """Text of each token that was committed, by its place in the answer."""
    reopened: tuple[int, ...] = ()
    """Places whose token was taken back."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The canvas after a frame."""

    number: int
    """Of the frame, from 0: the step."""
    frame: Frame
    texts: tuple[str | None, ...]
    """Of each place; None: still masked."""

    @property
    def committed(self) -> int:
        """Places that are written."""
        return sum(text is not None for text in self.texts)

    @property
    def tokens_per_second(self) -> float:
        """Of the whole answer so far, filler included."""
        return self.committed / self.frame.seconds if self.frame.seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An answer, frame by frame."""

    model: str
    prompt: str
    """As the model reads it."""
    settings: Mapping[str, str]
    """How it was decoded, by dotted names."""
    special: frozenset[str]
    """Texts of tokens that are no text, such as the end of text."""
    frames: tuple[Frame, ...]

    def pictures(self) -> Iterator[Picture]:
        """Yield the canvas after each frame."""
        texts: list[str | None] = []
        for number, frame in enumerate(self.frames):
            texts += [None] * (frame.length - len(texts))
            for place in frame.reopened:
                texts[place] = None
            for place, text in frame.written.items():
                texts[place] = text
            yield Picture(number=number, frame=frame, texts=tuple(texts))


def to_json(trace: Trace) -> dict[str, Any]:
    """Return a trace as its file holds it."""
    return {
        "format": FORMAT,
        "model": trace.model,
        "prompt": trace.prompt,
        "settings": dict(trace.settings),
        "special": sorted(trace.special),
        "frames": [
            {
                "passes": frame.passes,
                "seconds": round(frame.seconds, 6),
                "length": frame.length,
                "written": [[place, text] for place, text in sorted(frame.written.items())],
                "reopened": list(frame.reopened),
            }
            for frame in trace.frames
        ],
    }


def write_trace(path: Path, trace: Trace) -> None:
    """Write a trace to ``path``, atomically."""
    write_json(path, to_json(trace))


def read_trace(path: Path) -> Trace:
    """Read a trace.

    Raises:
        DataError: it is no trace, or damaged.
    """
    told = "`dlm watch … --save FILE` writes one"
    found = read_json(path, absent=told, damaged=f"name a trace: {told}")
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path}: not a {FORMAT} trace; {told}")
    try:
        frames = tuple(
            Frame(
                passes=int(frame["passes"]),
                seconds=float(frame["seconds"]),
                length=int(frame["length"]),
                written={int(place): str(text) for place, text in frame["written"]},
                reopened=tuple(map(int, frame["reopened"])),
            )
            for frame in found["frames"]
        )
        _check(frames)
        return Trace(
            model=str(found["model"]),
            prompt=str(found["prompt"]),
            settings=dict(found["settings"]),
            special=frozenset(found["special"]),
            frames=frames,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged trace ({error}); save it again") from error


def _check(frames: Sequence[Frame]) -> None:
    if not frames:
        raise ValueError("no frames")
    for frame in frames:
        if outside := [place for place in (*frame.written, *frame.reopened) if not 0 <= place < frame.length]:
            raise ValueError(f"place {outside[0]} of {frame.length}")


def trace_of_record(record: Mapping[str, Any], speller: Speller, model: str, settings: Mapping[str, str]) -> Trace:
    """Return the trace of a response record that holds the order of decoding.

    A record has the last pass that committed each token, and one time for the whole answer: what was taken back in
    between is not shown, and passes are shown as if each took as long.

    Args:
        record: of `records.jsonl`.
        speller: of the checkpoint's tokenizer.
        model, settings: as of :class:`Trace`.

    Raises:
        DataError: the record holds no order, or not its tokens.
    """
    if "steps" not in record or "token_ids" not in record:
        raise DataError(
            f"document '{record.get('doc_id')}': its record does not hold the order of decoding, since it was sampled "
            "without `execution: {record_order: true}`; with that in the params, remove this file and sample again"
        )
    steps, tokens, passes = record["steps"], record["token_ids"], record["forward_passes"]
    texts = pieces(speller, tokens)
    frames = [Frame(passes=0, seconds=0.0, length=len(tokens))]
    for number in range(passes):
        written = {place: str(texts[place]) for place, step in enumerate(steps) if step == number}
        seconds = record["seconds"] * (number + 1) / passes
        frames.append(Frame(passes=number + 1, seconds=seconds, length=len(tokens), written=written))
    special = frozenset(speller.decode([token]) for token in set(tokens) & speller.special)
    begun = record["response"][: _prefix(record, tokens, speller)]
    return Trace(model=model, prompt=record["prompt"] + begun, settings=settings, special=special, frames=tuple(frames))


def _prefix(record: Mapping[str, Any], tokens: Sequence[int], speller: Speller) -> int:
    """Return how many characters of a response were put there before anything was sampled."""
    end = next((place for place, token in enumerate(tokens) if token in speller.special), len(tokens))
    return max(0, len(record["response"]) - len(speller.decode(list(tokens[:end]))))
