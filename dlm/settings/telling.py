"""Nested settings as flat names and words, the way a person writes them in a params file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 6000
"""Characters of a value that are told; MLflow's limit for a param."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings by dotted names: ``{"selector": {"steps": 8}}`` becomes ``{"selector.steps": "8"}``."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = word(value)
    return found


def word(value: Any) -> str:
    """Return a setting's value as a person writes it in a params file."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
