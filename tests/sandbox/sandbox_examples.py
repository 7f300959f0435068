"""Limits under which the tests here run programs."""

from __future__ import annotations

import dataclasses

from dlm.sandbox import run_programs
from dlm.settings import SandboxSettings

LIMITS = SandboxSettings(seconds=30, memory=256, processes=4, files=1, workers=2)
"""Time enough for a busy machine; a program that would never end gets ``HURRIED``."""
HURRIED = dataclasses.replace(LIMITS, seconds=1)


def outcome(program: str, limits: SandboxSettings = LIMITS) -> str:
    """What becomes of one program."""
    return run_programs([program], limits)[0]
