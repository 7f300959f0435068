"""Run reference cases and count: ``dlm verify``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dlm.errors import DataError, DlmError
from dlm.settings.checks import one_of
from dlm.verification import forward, likelihood, loss, masks, sampling, schedules
from dlm.verification.cases import KINDS, Case, read_cases
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import Malformed
from dlm.verification.together import check_ids, check_versions, usual_versions

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


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    case: Case
    problems: tuple[str, ...]
    """What differs, a line each; empty when the case passed."""

    @property
    def line(self) -> str:
        """The line that is printed."""
        if not self.problems:
            return f"passed {self.case.name}"
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"FAILED {self.case.name}: {self.problems[0]}{more}"


def verify(folder: str | Path, kind: str | None = None, tell: Callable[[str], None] | None = None) -> list[Outcome]:
    """Run every reference case under a folder.

    Args:
        folder: a reference in the format of ``tests/parity/README.md``, or a part of one.
        kind: only cases of this kind; None: all.
        tell: called with a line for each case.

    Returns:
        An outcome for each case, in the order in which they were found.

    Raises:
        DataError: no case there.
        SettingsError: unknown kind.
    """
    from transformers.utils import logging

    if kind is not None:
        one_of("kind", kind, KINDS)
    logging.set_verbosity_error()  # what a checkpoint's own files lack is no concern of this command
    found = read_cases(Path(folder))
    cases = [case for case in found if kind in (None, case.kind)]
    if not cases:
        raise DataError(f"{folder}: no reference case of kind '{kind}' in it; expected {kind}/*.json")
    outcomes = []
    with Checkpoints() as checkpoints:
        for outcome in run_cases(cases, checkpoints, usual_versions(found)):
            outcomes.append(outcome)
            if tell:
                tell(outcome.line)
    return outcomes


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
