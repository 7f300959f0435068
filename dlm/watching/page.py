"""A trace as a web page that plays by itself: one file, nothing asked of any server."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from dlm.files import write_text
from dlm.watching.trace import Trace, to_json


def write_page(path: Path, trace: Trace) -> None:
    """Write a page that plays a trace: buttons, a slider, keys; it asks for nothing elsewhere."""
    from jinja2 import Environment

    html = Environment(autoescape=True).from_string(resource("page.html"))
    write_text(path, html.render(trace=trace, style=resource("player.css"), script=resource("player.js"),
                                 data=embedded(to_json(trace))))  # fmt: skip


def resource(name: str) -> str:
    """Return a file that lies beside this module."""
    return files("dlm.watching").joinpath(name).read_text(encoding="utf-8")


def embedded(value: Any) -> str:
    """Return JSON that can stand inside a script element, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
