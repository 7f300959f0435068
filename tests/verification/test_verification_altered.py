"""A case with one digit altered fails, wherever the digit stands, but for the few places that are listed here."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verification_examples import alter, alter_anywhere, digits

from dlm.verification.cases import Case, read_cases
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.run import run_cases
from dlm.verification.together import usual_versions

FREE = {
    "forward": {("inputs", "note"), ("source", "file")},
    "loss": {("notes",), ("source", "model_code", "file")},
    "masks": set(),
    "schedules": set(),
}
"""Fields whose digits nothing else tells: free text, and which file defined a network."""
WEAK = {
    "loss": {("min_mask_uniform_gap",), ("settings", "block_size")},
    "masks": {("id",)},
    "schedules": {("dllm", "steps"), ("dllm_batch", "steps"), ("factor_rule", "factor"), ("factor_rule", "confidence")},
}
"""Fields whose digits may leave everything else as it is: the gap to numbers that were not recorded (its form alone is
checked), a block longer than its row, the digit in `bd3lm`, and inputs of rules that round or compare (by rule)."""


@pytest.fixture(scope="module")
def checkpoints() -> Iterator[Checkpoints]:
    with Checkpoints() as kept:
        yield kept


@pytest.fixture(scope="module")
def everything(repository: Path) -> list[Case]:
    return read_cases(repository / "tests" / "parity")


@pytest.fixture(scope="module")
def usual(everything: list[Case]) -> dict[str, str]:
    return usual_versions(everything)


@pytest.mark.parametrize(
    ("kind", "rounds"), [("forward", 6), ("loss", 6), ("masks", 60), ("schedules", 3)]
)  # fmt: skip
def test_one_digit_altered_in_each_case_fails_each(
    kind: str, rounds: int, everything: list[Case], usual: dict[str, str], checkpoints: Checkpoints
) -> None:
    cases = [case for case in everything if case.kind == kind]
    excused = FREE[kind] | WEAK.get(kind, set())
    for seed in range(rounds):
        randomness = random.Random(seed)
        changed, fields = [], []
        for case in cases:
            altered, path = alter_anywhere(case.data, randomness)
            changed.append(dataclasses.replace(case, data=altered))
            fields.append((case.data["source"], *names(path)) if kind == "schedules" else names(path))
        outcomes = list(run_cases(changed, checkpoints, usual))
        passed = [(case.name, field) for case, field, outcome in zip(cases, fields, outcomes, strict=True)
                  if not outcome.problems and field not in excused]  # fmt: skip
        assert passed == [], f"round {seed}"


def test_every_digit_of_one_loss_fails_it(
    everything: list[Case], usual: dict[str, str], checkpoints: Checkpoints
) -> None:
    """The shortest block diffusion case, its sampled digits one by one, with everything else in place."""
    case = next(case for case in everything if case.id == "loss_31")
    randomness = random.Random(0)
    places = [place for place in digits(case.data) if names(place[0]) not in FREE["loss"] | WEAK["loss"]]
    for path, place in randomness.sample(places, 150):
        altered = alter(case.data, path, place, randomness)
        if altered is not None and path != ("id",):  # alone in its file, any name will do
            (outcome,) = run_cases([dataclasses.replace(case, data=altered)], checkpoints, usual)
            assert outcome.problems, (path, place)


def names(path: tuple[str | int, ...]) -> tuple[str, ...]:
    return tuple(key for key in path if isinstance(key, str))


@pytest.mark.parametrize("checkpoint", ["llada", "dream", "qwen3", "modernbert", "bert"])
def test_an_altered_array_fails_a_forward_case(
    checkpoint: str, everything: list[Case], tmp_path: Path, checkpoints: Checkpoints
) -> None:
    case = next(case for case in everything if case.id == f"forward_{checkpoint}")
    (tmp_path / "forward").mkdir()
    (tmp_path / "checkpoints").symlink_to(case.root / "checkpoints")
    with np.load(case.root / case.data["file"]) as archive:
        arrays = {name: archive[name] for name in archive.files}
    randomness = np.random.default_rng(0)
    for name, array in arrays.items():
        for _ in range(3):
            altered = array.copy()
            place = tuple(randomness.integers(0, size) for size in array.shape)
            altered[place] += 1 if array.dtype == np.int64 else 0.01 * max(1, abs(array[place]))
            np.savez(tmp_path / case.data["file"], **{**arrays, name: altered})
            moved = dataclasses.replace(case, root=tmp_path)
            (outcome,) = run_cases([moved], checkpoints_of(tmp_path, case.root, checkpoints), {})
            assert outcome.problems, (name, place)


def checkpoints_of(moved: Path, root: Path, kept: Checkpoints) -> Any:
    """The same checkpoints, whose cases now lie elsewhere."""

    class Moved:
        def __getattr__(self, name: str) -> Any:
            return lambda _, *rest, **options: getattr(kept, name)(root, *rest, **options)

    return Moved()


def test_a_commit_that_no_other_case_names_fails(everything: list[Case], usual: dict[str, str]) -> None:
    assert usual["ZHZisZZ/dllm"].startswith("ca17675")
    case = next(case for case in everything if case.kind == "masks")
    altered = {**case.data, "source": {**case.data["source"], "commit": "ca176752fbceec49c6b4777a2c18ae88e4eb10ee"}}
    with Checkpoints() as none:
        (outcome,) = run_cases([dataclasses.replace(case, data=altered)], none, usual)
    assert "most cases name ca176752fbceec49c6b4777a2c18ae88e4eb10ed" in outcome.line


@pytest.mark.parametrize(
    ("ids", "wrong"),
    [
        (["a_00", "a_01", "a_02"], []),
        (["a_00", "a_01", "a_01"], [1, 2]),
        ([f"a_{n:02}" for n in (*range(5), 75, *range(6, 12))], [5]),
        ([f"a_{n:02}" for n in (*range(5), *range(8, 15), *range(20, 30))], []),  # gaps are no fault
        (["a_07", "a_01", "a_03", "a_02", "a_00"], []),  # no order at all
    ],
)
def test_names_that_are_out_of_order(ids: list[str], wrong: list[int], tmp_path: Path) -> None:
    from dlm.verification.together import check_ids

    cases = [Case("loss", tmp_path, tmp_path / "loss.json", n, {"id": name}) for n, name in enumerate(ids)]
    assert [place for place, _ in check_ids(cases)] == wrong
