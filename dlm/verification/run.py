"""Run reference cases: what checks a case of each kind, alone and beside the others of its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from dlm.errors import DlmError
from dlm.verification import forward, likelihood, loss, masks, sampling, schedules
from dlm.verification.cases import Case, Outcome
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import Malformed
from dlm.verification.together import check_ids, check_versions

Runner = Callable[[Case, Checkpoints], Iterator[str]]

RUNNERS: dict[str, Runner] = {
    "forward": forward.check,
    "likelihood": likelihood.check,
    "loss": loss.check,
    "masks": masks.check,
    "sampling": sampling.check,
    "schedules": schedules.check,
}
"""What checks a case of each kind, a line for each thing that differs."""


def run_cases(cases: Sequence[Case], checkpoints: Checkpoints, usual: Mapping[str, str]) -> Iterator[Outcome]:
    """Run cases, file by file.

    Args:
        cases: those of a file one after the other.
        checkpoints: where converted checkpoints are kept.
        usual: the commit of each repository that most cases name (:func:`dlm.verification.together.usual_versions`).
    """
    for _, group in groupby(cases, key=lambda case: case.file):
        yield from _run_file(list(group), checkpoints, usual)


def _run_file(cases: Sequence[Case], checkpoints: Checkpoints, usual: Mapping[str, str]) -> list[Outcome]:
    problems = [list(_run_case(case, checkpoints)) for case in cases]
    for number, case in enumerate(cases):
        problems[number] += check_versions(case, usual)
    for number, problem in check_ids(cases):
        problems[number].append(problem)
    if cases[0].kind == "schedules":
        failed = {number for number, found in enumerate(problems) if found}
        for number, problem in schedules.check_together(cases, failed):
            problems[number].append(problem)
    return [Outcome(case, tuple(found)) for case, found in zip(cases, problems, strict=True)]


def _run_case(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    if case.unreadable:
        yield case.unreadable
    else:
        try:
            yield from RUNNERS[case.kind](case, checkpoints)
        except (Malformed, DlmError) as error:
            yield str(error)
        except Exception as error:  # whatever a damaged case sets off, it has failed, and the others go on
            yield f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
