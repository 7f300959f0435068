"""A checkpoint folder that was made elsewhere, as far as a plan looks into it: told anew when it changes."""

from __future__ import annotations

from pathlib import Path

_SMALL = {".json", ".txt", ".jinja", ".model"}
"""Endings of settings and vocabularies: small enough to be read whenever a plan is made."""


def described_by(folder: Path) -> list[Path]:
    """Return the settings and vocabularies of a checkpoint folder, which a plan compares by content."""
    return sorted(path for path in folder.glob("*") if path.suffix in _SMALL and path.is_file())


def state_of_weights(folder: Path) -> list[tuple[str, int, int]]:
    """Return name, bytes and time of change (ns) of each file of weights: reading gigabytes for a plan takes too long.

    Weights that are written again are converted again; where their bytes are the same, nothing follows from that.
    """
    files = sorted(folder.glob("*.safetensors"))
    return [(path.name, state.st_size, state.st_mtime_ns) for path in files for state in [path.stat()]]
