"""The page of an answer, as a person plays it: by buttons, by keys, on a small screen, from the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlm.watching import Frame, Trace
from dlm.watching.page import write_page

Drive = Callable[[list[dict[str, str]]], dict[str, Any]]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]


def test_a_page_plays_by_keys_on_a_small_screen(drive: Drive, tmp_path: Path) -> None:
    frames = [Frame(passes=0, seconds=0.0, length=4)]
    frames += [Frame(passes=n + 1, seconds=n + 1.0, length=4, written={3 - n: "dcba"[n]}) for n in range(4)]
    trace = Trace(model="m", prompt="Q", settings={"steps": "4"}, special=frozenset(), frames=tuple(frames))
    write_page(tmp_path / "page.html", trace)
    look = [{"read": ".player .answer"}, {"read": ".player .status"}]
    report = drive(
        [
            {"open": (tmp_path / "page.html").as_uri()},
            *look,
            {"size": "320x560"},
            {"press": "Home"},
            *look,
            {"press": "ArrowRight"},
            {"press": "ArrowRight"},
            {"press": "ArrowLeft"},
            *look,
            {"count": ".player .new"},
            {"press": "Space"},
            {"see": "step 4 of 4"},
            {"click": "step back"},
            *look,
            {"shot": str(tmp_path / "page.png")},
        ]
    )
    assert report["read"][::2] == ["abcd", "▒▒▒▒", "▒▒▒d", "▒bcd"]
    assert report["read"][1::2] == [
        "step 4 of 4 · 4 forward passes · 4 of 4 tokens, 1.00 a pass, 1 a second",
        "step 0 of 4 · 0 forward passes · 0 of 4 tokens",
        "step 1 of 4 · 1 forward pass · 1 of 4 tokens, 1.00 a pass, 1 a second",
        "step 3 of 4 · 3 forward passes · 3 of 4 tokens, 1.00 a pass, 1 a second",
    ]
    assert report["count"] == [1]
    assert report["elsewhere"] == []
