"""Loss curves as CSV files, one a training: what `dvc plots` and spreadsheets read."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dlm.errors import DataError
from dlm.files import MANIFEST, read_jsonl, write_text
from dlm.tracking.trainings import CURVES

KINDS = {"train": "loss", "held_out": "eval_loss"}
"""Folders, and the field of the curves' records that each shows."""


def write_curves(root: Path, scale: str) -> list[Path]:
    """Write the curves of every trained checkpoint of a scale; return the paths of the files.

    ``results/<scale>/curves/train/NAME.csv`` and ``…/held_out/NAME.csv`` have the columns ``step`` (updates) and
    ``loss`` (nats a token, or as the recipe weights it), all digits kept: the same checkpoint gives the same bytes.
    Files of checkpoints that are no more are removed.

    Raises:
        DataError: there are no checkpoints, or a curve is damaged.
    """
    base = root / "results" / scale
    if not (base / "checkpoints").is_dir():
        raise DataError(f"no checkpoints of scale '{scale}'; `dlm train NAME --scale {scale}` makes one")
    written = []
    for kind, field in KINDS.items():
        folder = base / "curves" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((base / "checkpoints").glob(f"*/{CURVES}")):
            if path.parent.name.startswith(".") or not path.with_name(MANIFEST).is_file():
                continue
            if rows := _rows(path, field):
                written.append(folder / f"{path.parent.name}.csv")
                write_text(written[-1], _text(rows))
        for old in set(folder.glob("*.csv")) - set(written):
            old.unlink()
    return written


def _rows(path: Path, field: str) -> list[tuple[int, float]]:
    try:
        return [(record["step"], record[field]) for record in read_jsonl(path) if field in record]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not as this version writes it ({error!r})") from error


def _text(rows: list[tuple[int, float]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("step", "loss"))
    writer.writerows(rows)
    return stream.getvalue()
