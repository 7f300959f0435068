"""A real Chromium, driven from node. Without them a test is skipped, and fails where CI was to install them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Scenario = list[dict[str, str]]
Drive = Callable[[Scenario], dict[str, Any]]


@pytest.fixture(scope="session")
def drive(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Take Chromium through the steps of a scenario (drive.mjs lists them); return its report."""
    chromium, node = shutil.which("chromium"), shutil.which("node")
    modules = repository / ".cache" / "browser" / "node_modules"
    missing = [
        name
        for name, found in (("chromium", chromium), ("node", node), ("playwright-core", modules.is_dir()))
        if not found
    ]
    if missing:
        absent = f"no {', '.join(missing)}; .ci/run installs what these tests need"
        pytest.fail(absent) if os.environ.get("CI") == "true" else pytest.skip(absent)
    folder = tmp_path_factory.mktemp("browser")

    def run(scenario: Scenario) -> dict[str, Any]:
        command = [str(node), str(Path(__file__).with_name("drive.mjs")), str(modules), str(chromium)]
        done = subprocess.run(
            command, input=json.dumps(scenario), cwd=folder, capture_output=True, text=True, timeout=1500
        )
        assert done.returncode == 0, f"{done.stderr}\n(screenshot: {folder / 'failed.png'})"
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    return run
