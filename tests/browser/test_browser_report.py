"""The report, as a person reads it: from the disk, by keys, on a small screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_project import make_project

from dlm.reporting import write_report

Drive = Callable[[list[dict[str, str]]], dict[str, Any]]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]


def test_cells_are_found_opened_and_read_by_keys(drive: Drive, tmp_path: Path) -> None:
    layout = make_project(tmp_path / "here", {"slow": [1, 0, 1], "fast": [0, 0, 1]})
    page = layout.base / "report.html"
    write_report(layout, page)
    (checkpoint,) = re.findall(r'id="(checkpoint-tuned-\w+)"', page.read_text())
    report = drive(
        [
            {"open": page.as_uri()},
            {"see": "Two settings"},
            {"count": "details.cell:visible"},
            {"press": "/"},
            {"type": "fast"},
            {"see": "1 of 2 cells"},
            {"count": "details.cell:visible"},
            {"press": "Escape"},
            {"press": "n"},
            {"press": "Enter"},
            {"find": "details[open] .token"},
            {"read": "details[open] .answer h5"},
            {"size": "360x640"},
            {"fits": ""},
            {"open": f"{page.as_uri()}#{checkpoint}"},
            {"find": f"#{checkpoint}[open] .kind"},
            {"fits": ""},
            {"shot": str(tmp_path / "small.png")},
        ]
    )
    assert report["count"] == [2, 1]
    assert report["read"] == ["✓ right: document w2"]
    assert report["fits"] == [True, True]
    assert report["elsewhere"] == []
