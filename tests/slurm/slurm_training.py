"""`dlm` whose trainings take their time until there is a file `go`, so that a test can interrupt them at will."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from dlm.cli import main
from dlm.training.trainer import DiffusionTrainer

FIRST_STEP_S, LAST_STEP_S = 0.4, 5.0
"""Longer and longer, so that the first come soon and a test has all the time that it may need before the last one."""


class SlowTrainer(DiffusionTrainer):
    def training_step(self, *arguments: Any, **more: Any) -> Any:
        if not Path("go").exists():
            done = self.state.global_step / self.state.max_steps
            time.sleep(FIRST_STEP_S + (LAST_STEP_S - FIRST_STEP_S) * done)
        return super().training_step(*arguments, **more)


if __name__ == "__main__":
    from dlm.training import run

    run.DiffusionTrainer = SlowTrainer  # type: ignore[misc]
    main()
