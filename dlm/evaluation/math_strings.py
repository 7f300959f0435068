"""Whether two LaTeX answers are the same text once they are written alike: the MATH benchmark's own comparison.

The rules are those of ``math_equivalence.py`` of hendrycks/math (arXiv 2103.03874), in their order. Nothing is worked
out: ``2/4`` and ``1/2`` differ.
"""

from __future__ import annotations

import re

_REWRITTEN = (
    ("\n", ""),
    (r"\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    (r"\left", ""),
    (r"\right", ""),
    (r"^{\circ}", ""),
    (r"^\circ", ""),
    (r"\$", ""),
)
_UNIT = r"\text{ "
_SQUARE_ROOT = re.compile(r"\\sqrt([^{])", re.DOTALL)
_NO_RADICAND = re.compile(r"\\sqrt(?:\\sqrt|\Z)")
_INTEGERS = re.compile(r"(-?[1-9][0-9]*|0)/(-?[1-9][0-9]*|0)")


def same_answer(one: str, other: str) -> bool:
    """Return whether two answers are equal once normalised; where one cannot be, whether they are equal as they are."""
    try:
        return normalised(one) == normalised(other)
    except ValueError:
        return one == other


def normalised(text: str) -> str:
    """Return a LaTeX answer in the one form that equal answers share.

    Raises:
        ValueError: two units, or a root or fraction of nothing.
    """
    for old, new in _REWRITTEN:
        text = text.replace(old, new)
    text = _without_unit(text).replace(r"\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    text = f"0{text}" if text.startswith(".") else text
    text = _braced_roots(_without_name(text)).replace(" ", "")
    text = _braced_fractions(text)
    text = r"\frac{1}{2}" if text == "0.5" else text
    whole = _INTEGERS.fullmatch(text)
    return rf"\frac{{{whole[1]}}}{{{whole[2]}}}" if whole else text


def _without_unit(text: str) -> str:
    if text.count(_UNIT) > 1:
        raise ValueError("two units")
    return text.partition(_UNIT)[0]


def _without_name(text: str) -> str:
    """Drop a name of at most two characters before the only equals sign."""
    name, equals, rest = text.partition("=")
    return rest if equals and "=" not in rest and len(name) <= 2 else text


def _braced_roots(text: str) -> str:
    if _NO_RADICAND.search(text):
        raise ValueError("a root of nothing")
    return _SQUARE_ROOT.sub(r"\\sqrt{\1}", text)


def _braced_fractions(text: str) -> str:
    r"""Write `\frac12` and `\frac1{2}` as `\frac{1}{2}`; leave a text with a fraction of one character alone."""
    head, *pieces = text.split(r"\frac")
    if not all(pieces):
        raise ValueError("a fraction of nothing")
    if any(len(piece) == 1 and piece != "{" for piece in pieces):
        return text
    return head + "".join(rf"\frac{_braced(piece)}" for piece in pieces)


def _braced(piece: str) -> str:
    if piece[0] == "{":
        return piece
    above, below, rest = piece[0], piece[1], piece[2:]
    return f"{{{above}}}{below}{rest}" if below == "{" else f"{{{above}}}{{{below}}}{rest}"
