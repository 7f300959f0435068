"""Which code a step's results come from, as a digest: a change of that code makes the step run again.

What is digested is what Python would run: comments, docstrings and formatting change nothing, nor does the Python
version. Left out are the rooms whose effect on a result is in its settings already (params, and of settings all that
holds values and computes nothing), and those that have none (cli, tracking; how files are written, progress, errors,
signals; on answers, what their order tells).
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import dlm

_MODELS = ("diffusion", "likelihood", "models", "sampling", "settings/decoding.py", "settings/selecting.py")
"""Where a model is asked and answers."""
_ANSWERING = ("data", *_MODELS, "evaluation", "ordering.py", "sandbox")
ROOMS = {
    "data": ("data",),
    "checkpoints": ("data/prepare.py", "data/lazy.py", "diffusion", "models", "settings/objective.py", "training"),
    "responses": _ANSWERING,
    "shards": _ANSWERING,
    "scores": ("data", "evaluation", "ordering.py", "sandbox", "settings/metrics.py"),
    "tables": ("analysis", "settings/metrics.py"),
    "figures": ("figures", "ordering.py", "settings/metrics.py"),
    # What decides the answer to a prompt: responses recorded by other code than this are not kept.
    "answers": (
        *_MODELS,
        "evaluation/autoregressive.py",
        "evaluation/lm.py",
        "evaluation/replay.py",
        "evaluation/request.py",
    ),
}
_SILENT = ("ctx", "kind", "type_comment")


def code_digest(step: str, package: Path = Path(dlm.__file__).parent) -> str:
    """Digest the code in ``package`` that the results of ``step`` (a key of ``ROOMS``) come from."""
    text = hashlib.sha256()
    for file in _files(step, package):
        text.update(f"{file.relative_to(package).as_posix()} {_file_digest(file)}\n".encode())
    return text.hexdigest()


def source_digest(source: str) -> str:
    """Digest what a Python source says, whatever its comments, docstrings and formatting are."""
    pieces: list[str] = []
    _collect(ast.parse(source), pieces)
    return hashlib.sha256("\0".join(pieces).encode("utf-8", "surrogatepass")).hexdigest()


def _files(step: str, package: Path) -> Iterator[Path]:
    """Yield the files of a step's rooms: Python, and the task definitions beside it."""
    for part in ROOMS[step]:
        path = package / part
        inside = (file for kind in ("*.py", "*.yaml") for file in path.rglob(kind))
        yield from [path] if path.is_file() else sorted(inside)


@functools.cache
def _file_digest(file: Path) -> str:
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return source_digest(file.read_text(encoding="utf-8"))


def _collect(node: ast.AST, pieces: list[str]) -> None:
    """Append a tree as texts: each node's kind, those of its fields that hold something, its end."""
    pieces.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in _SILENT:
            continue  # a field that says nothing may be absent in another Python version
        pieces.append(name)
        for child in value if isinstance(value, list) else (value,):
            if not isinstance(child, ast.AST):
                pieces.append(repr(child))
            elif not _is_docstring(child):
                _collect(child, pieces)
    pieces.append(".")


def _is_docstring(node: ast.AST) -> bool:
    """Return whether a node is a statement that is only a text: of a module, class, function or field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
