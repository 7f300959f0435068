"""What stands in lm-eval's own task files, read where importing them asks for packages that do not fit in here."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import lm_eval.tasks

from dlm.errors import SetupError


def minerva_shots() -> list[dict[str, Any]]:
    """Return the solved examples of Minerva (arXiv 2206.14858, appendix D.2), as lm-eval's `minerva_math` has them."""
    return list(literal("minerva_math/utils.py", "list_fewshot_samples"))


def literal(file: str, function: str) -> Any:
    """Return the value that a function of one of lm-eval's task modules returns, where that is written out.

    Raises:
        SetupError: this lm-eval has no such function, or it computes something.
    """
    path = Path(lm_eval.tasks.__file__).parent / file
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
        (value,) = (node.value for node in ast.walk(found) if isinstance(node, ast.Return) and node.value)
        return ast.literal_eval(value)
    except (OSError, ValueError, StopIteration) as error:
        raise SetupError(f"{path}: no '{function}' whose value is written out; lm-eval 0.4.13 has one") from error
