"""Where a case was recorded."""

from __future__ import annotations

from typing import Any

from dlm.verification.fields import Malformed, read_fields, text


def source(value: Any) -> dict[str, Any]:
    """Read which code a case was recorded from."""
    told = {"commit": text, "version": text, "file": text, "function": text}
    return read_fields(
        value, {"repo": text}, {**told, "model_code": lambda code: read_fields(code, {"repo": text}, told)}
    )


def function_of(value: dict[str, Any]) -> tuple[str, str, str]:
    """Return repository, file and function of a source.

    Raises:
        Malformed: one is not told.
    """
    if value["file"] is None or value["function"] is None:
        raise Malformed("source: file and function are needed")
    return value["repo"], value["file"], value["function"]
