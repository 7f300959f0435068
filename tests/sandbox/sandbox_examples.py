"""Limits under which the tests here run programs."""

from __future__ import annotations

from dlm.sandbox import run_programs
from dlm.settings import SandboxSettings

LIMITS = SandboxSettings(seconds=1, memory=256, processes=4, files=1, workers=2)


def outcome(program: str, limits: SandboxSettings = LIMITS) -> str:
    """What becomes of one program."""
    return run_programs([program], limits)[0]
