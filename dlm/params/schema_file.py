"""JSON schemas of params files and of sweep files, for editors.

``python -m dlm.params.schema_file > params/schema.json``; with ``sweep``, ``params/sweep.schema.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter

from dlm.params.schema import Params
from dlm.settings.sweep import Sweep


def schema_text() -> str:
    """Return the schema of a params file, every field with its description, as JSON text."""
    schema = TypeAdapter(Params).json_schema()
    definitions = schema.setdefault("$defs", {})
    # A file that extends another may leave anything out; which keys are required is checked after merging.
    for definition in [schema, *definitions.values()]:
        definition.pop("required", None)
    schema["properties"]["extends"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Scale or part of one that this file is laid over, or several, each laid over those before it.",
    }
    definitions["Params"] = {"description": "A params file."}
    return _text(schema)


def sweep_schema_text() -> str:
    """Return the schema of a sweep file, every field with its description, as JSON text."""
    return _text(TypeAdapter(Sweep).json_schema())


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(sweep_schema_text() if sys.argv[1:] == ["sweep"] else schema_text())
