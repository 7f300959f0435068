"""The worked examples of docs/sampling.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from doubles import small_denoiser

from dlm.diffusion.schedules import SCHEDULES
from dlm.sampling import Sampler
from dlm.settings import FullCanvas, SamplerSettings, ScheduleSelector

MOST_LINES = 20


def examples(repository: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (repository / "docs" / "sampling.md").read_text(), re.DOTALL)


def test_the_example_of_a_rule_commits_half_of_what_is_open(repository: Path) -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec(examples(repository)[0], names)
    chosen = SamplerSettings(canvas=FullCanvas(max_new_tokens=16), selector=names["HalfSelector"]())
    opened: list[list[int]] = []
    Sampler(small_denoiser(), chosen).sample(
        [[4, 5], [6]], watch=lambda state: opened.append(state.open_BL.sum(1).tolist())
    )
    assert opened == [[16, 16], [8, 8], [4, 4], [2, 2], [1, 1], [0, 0]]


def test_the_example_of_a_schedule_reveals_by_its_alpha(repository: Path) -> None:
    exec(examples(repository)[1], {})
    try:
        selector = ScheduleSelector(steps=4, schedule="quadratic")  # type: ignore[arg-type]
        chosen = SamplerSettings(canvas=FullCanvas(max_new_tokens=16), selector=selector)
        opened: list[int] = []
        Sampler(small_denoiser(), chosen).sample([[4]], watch=lambda state: opened.append(int(state.open_BL.sum())))
        # What is masked at times 1, 3/4, 1/2, 1/4, 0 of 16: their squares.
        assert opened == [16, 9, 4, 1, 0]
    finally:
        del SCHEDULES["quadratic"]


def test_a_rule_and_a_schedule_take_few_lines(repository: Path) -> None:
    for example in examples(repository):
        assert sum(bool(line.strip()) for line in example.splitlines()) <= MOST_LINES
    for file in ("even", "floor", "origin"):
        text = (repository / "dlm" / "sampling" / "rules" / f"{file}.py").read_text()
        code = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
        assert sum(bool(line.strip()) for line in code.splitlines()) <= MOST_LINES, file
