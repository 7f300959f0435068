"""Which part of an answer is the program: text in, text out, as each published evaluation reads it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
# The done mark is a stop text, so that it is cut from most answers.
_MARKS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\[?BEGIN\]?\s*'(.*?)'\s*(?:\[DONE\]|\Z)",
        r"\[?BEGIN\]?(.*?)(?:\[DONE\]|\Z)",
        r"```[^\n`]*\n(.*?)```",
        r"\A\s*'(.*?)'\s*(?:\[DONE\]|\Z)",
        r"\A(.*?)\[DONE\]",
    )
)


def until_fence(answer: str) -> str:
    """Return what stands before the first fence (three backticks); all of it where there is none."""
    return answer.partition("```")[0]


def first_block(answer: str) -> str:
    """Return the first fenced block, closed or not; all of the answer where there is none."""
    found = _FENCE.search(answer)
    return found[1] if found else answer


def between_marks(answer: str) -> str:
    """Return what stands between begin and done marks, else in a fence, else before a done mark, else all of it.

    Quotes around it are taken off, and underscores that were escaped, as in Markdown, are made plain.
    """
    found = next((match for pattern in _MARKS if (match := pattern.search(answer))), None)
    text = (found[1] if found else answer).strip()
    for quote in ("'''", '"""', "'", '"'):
        if len(text) >= 2 * len(quote) and text.startswith(quote) and text.endswith(quote):
            text = text[len(quote) : -len(quote)].strip()
            break
    return text.replace("\\_", "_")


def reachable(program: str, entry: str) -> str:
    """Return of a program's beginning, as far as it is Python, the imports and what the function ``entry`` reaches.

    Where nothing of it is Python, or it defines no such function, the program is returned as it is.
    """
    lines = program.splitlines()
    tree = next((found for end in range(len(lines), 0, -1) if (found := _parsed("\n".join(lines[:end])))), None)
    if tree is None:
        return program
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _defined(statement):
            definitions.setdefault(name, []).append(statement)
    if entry not in definitions:
        return program
    wanted, waiting = {entry}, [entry]
    while waiting:
        for statement in definitions[waiting.pop()]:
            used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)} & definitions.keys()
            waiting += used - wanted
            wanted |= used
    kept = [
        statement
        for statement in tree.body
        if isinstance(statement, ast.Import | ast.ImportFrom) or wanted.intersection(_defined(statement))
    ]
    return "\n\n".join(ast.unparse(statement) for statement in kept)


def _parsed(text: str) -> ast.Module | None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if tree.body else None


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
