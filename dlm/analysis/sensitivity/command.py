"""`dlm sensitivity SWEEP`: from the scores of a sweep's settings to the files of its table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlm.analysis.published import Published
from dlm.analysis.sensitivity.files import write_files
from dlm.analysis.sensitivity.study import build_study
from dlm.files import read_json
from dlm.params.figures import PUBLISHED
from dlm.provenance import code_version

if TYPE_CHECKING:
    from dlm.params import Plan


def write_sensitivity(sweep: str, plan: Plan) -> Path:
    """Make the table of a sweep from its settings' scores; return the path of the CSV.

    Raises:
        SettingsError: there is no such sweep, or it cannot be.
        DataError: scores or published figures are missing or damaged.
    """
    expanded = plan.sweep(sweep)
    scores = {
        model: [read_json(plan.layout.manifest("scores", bundle)) for bundle in bundles]
        for model, bundles in plan.table_bundles(f"sensitivity_{sweep}").items()
    }
    study = build_study(
        expanded,
        plan.params.tasks,
        plan.scale,
        scores,
        Published.load(plan.layout.root / PUBLISHED) if expanded.file.sweep.published else None,
        meaningless=plan.params.meaningless,
        about=plan.params.title,
    )
    return write_files(study, plan.layout.tables, code=code_version())[0]
