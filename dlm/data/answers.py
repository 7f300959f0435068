"""What a model's raw text answers, and whether it is right.

One answer is chosen from the text without looking at the truth; only then is it compared. Text comes from models, so
every function here accepts any string, in time linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dlm.data.expression import Evaluation, ExpressionError, evaluate

_SPECIAL_TOKEN = re.compile(r"<\|[^|<>\n]{1,40}\|>")
_SIGNS = {
    r"\times": "*",
    r"\cdot": "*",
    r"\div": "/",
    r"\left(": "(",
    r"\right)": ")",
    r"\(": " ",
    r"\)": " ",
    "×": "*",
    "·": "*",
    "÷": "/",
    "−": "-",
}
# A stretch that could be an expression. Signs that would change its meaning (a decimal point, a power) belong to the
# stretch, so that it fails to parse instead of being cut down to something that was not said.
_STRETCH = re.compile(r"[-+*/() \t0-9.,%^_]+")
_LEADING = re.compile(r"\A[.,\s]*\s")
_LIST_MARK = re.compile(r"\A\s*[0-9]+[.)]\s+")
_NUMBER = re.compile(r"(?:(?<![\w)])-)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)")
_SIXTEEN = re.compile(r"(?<![0-9])(?:[0-9]\s*){15}[0-9](?![0-9])")


def answer_text(text: str) -> str | None:
    """Return what the last ``<answer>`` tag holds (up to the end if none is closed), or None without such a tag."""
    text = _SPECIAL_TOKEN.sub("\n", text)
    close = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, close) if close >= 0 else -1
    if start < 0:
        close, start = len(text), text.rfind("<answer>")
    return None if start < 0 else text[start + len("<answer>") : close]


def countdown_correct(text: str, numbers: Sequence[int], target: int) -> bool:
    """Say whether the expression that ``text`` answers uses exactly ``numbers``, each once, and equals ``target``."""
    found = _last_expression(_scope(text))
    return found is not None and sorted(found.integers) == sorted(numbers) and found.value == target


def sudoku_cells(text: str, puzzle: str, solution: str) -> tuple[int, int]:
    """Return (right, empty): how many of the puzzle's empty cells the answer fills as ``solution`` does, and how many
    there are. ``puzzle`` and ``solution`` are 16 digits, row by row, 0 for an empty cell.
    """
    tagged = answer_text(text)
    scope = _SPECIAL_TOKEN.sub("\n", text) if tagged is None else tagged
    runs = _SIXTEEN.findall(scope) if tagged is None else []
    digits = re.sub(r"[^0-9]", "", runs[-1] if runs else scope)[:16].ljust(16, "0")
    empty = [cell for cell, clue in enumerate(puzzle) if clue == "0"]
    return sum(digits[cell] == solution[cell] for cell in empty), len(empty)


def final_number(text: str) -> str | None:
    """Return the number that ``text`` answers, written plainly (`1,200` as `1200`, `6.0` as `6`), or None."""
    numbers = _NUMBER.findall(_scope(text))
    return _plain(numbers[-1]) if numbers else None


def _scope(text: str) -> str:
    """Return the part of ``text`` that answers: the answer tag, else all of it; in there the last box, if any."""
    tagged = answer_text(text)
    scope = _SPECIAL_TOKEN.sub("\n", text) if tagged is None else tagged
    return _last_box(scope)


def _last_box(text: str) -> str:
    r"""Return the content of the last ``\boxed{...}`` with its braces balanced, or ``text`` without a whole one."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return text
    start += len(r"\boxed{")
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return text


def _last_expression(text: str) -> Evaluation | None:
    """Return the text as an expression with an operation, else the last such expression of the last line with one."""
    for written, sign in _SIGNS.items():
        text = text.replace(written, sign)
    whole = _expression(" ".join(text.split()))
    if whole is not None:
        return whole
    lines = (_LIST_MARK.sub("", line, count=1) for line in reversed(text.splitlines()))
    return next(filter(None, map(_last_on_line, lines)), None)


def _last_on_line(line: str) -> Evaluation | None:
    for part in reversed(line.split("=")):
        for stretch in reversed(list(_STRETCH.finditer(part))):
            found = _expression(stretch[0]) if _stands_alone(stretch) else None
            if found is not None:
                return found
    return None


def _stands_alone(stretch: re.Match[str]) -> bool:
    """Say whether no letter touches the stretch, as it would in `sqrt(4)` or `3x`; a comma or blank keeps it away."""
    before = stretch.string[max(stretch.start() - 1, 0) : stretch.start()]
    after = stretch.string[stretch.end() : stretch.end() + 1]
    return not (before.isalnum() and stretch[0][0] not in " \t,") and not (
        after.isalnum() and stretch[0][-1] not in " \t,"
    )


def _expression(text: str) -> Evaluation | None:
    """Evaluate ``text`` without the punctuation around it; None if it is no expression or has no operation."""
    text = _LEADING.sub("", text).rstrip(" \t.,")
    if text.startswith("**") and text.endswith("**"):
        text = text[2:-2]
    try:
        found = evaluate(text)
    except ExpressionError:
        return None
    return found if found.steps else None


def _plain(number: str) -> str:
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    whole, _, decimals = digits.replace(",", "").partition(".")
    plain = (whole.lstrip("0") or "0") + (f".{decimals.rstrip('0')}" if decimals.rstrip("0") else "")
    return plain if plain == "0" else sign + plain
