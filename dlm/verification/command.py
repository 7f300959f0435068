"""``dlm verify``: which cases are run, said before anything that computes is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dlm.errors import DataError
from dlm.settings.checks import one_of
from dlm.verification.cases import KINDS, Outcome, read_cases


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
    if kind is not None:
        one_of("kind", kind, KINDS)
    found = read_cases(Path(folder))
    cases = [case for case in found if kind in (None, case.kind)]
    if not cases:
        raise DataError(f"{folder}: no reference case of kind '{kind}' in it; expected {kind}/*.json")

    from transformers.utils import logging

    from dlm.verification.checkpoints import Checkpoints
    from dlm.verification.run import run_cases
    from dlm.verification.together import usual_versions

    logging.set_verbosity_error()  # what a checkpoint's own files lack is no concern of this command
    outcomes = []
    with Checkpoints() as checkpoints:
        for outcome in run_cases(cases, checkpoints, usual_versions(found)):
            outcomes.append(outcome)
            if tell:
                tell(outcome.line)
    return outcomes
