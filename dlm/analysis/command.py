"""`dlm table NAME`: from the scores of a scale to the files of a table."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.analysis.declared import Declaration
from dlm.analysis.published import Published
from dlm.analysis.render import write_files
from dlm.analysis.tables import Asked, build_table
from dlm.files import MANIFEST, read_json, read_manifest
from dlm.params.figures import PUBLISHED
from dlm.provenance import code_version

if TYPE_CHECKING:
    from dlm.params import Plan
    from dlm.settings import TableRow


def write_table(name: str, plan: Plan) -> Path:
    """Make table ``name`` of a plan from its models' scores; return the path of the CSV.

    Raises:
        SettingsError: the plan has no such table, or the paper scale's params cannot be read.
        DataError: scores or published figures are missing or damaged.
    """
    table = plan.entry("tables", name)

    def asked(row: TableRow, task: str) -> Asked:
        first, *more = plan.row_cells(row, task)
        return Asked(first.setting, first.response_prefix, tuple(cell.setting for cell in more))

    published = Published.load(plan.layout.root / PUBLISHED) if table.published else None
    departures = partial(Declaration.of(plan, published).departures, plan, name) if published else None
    result = build_table(
        name,
        table,
        plan.params.tasks,
        plan.scale,
        {
            model: [read_json(plan.layout.manifest("scores", bundle)) for bundle in bundles]
            for model, bundles in plan.table_bundles(name).items()
        },
        asked,
        published,
        plan.params.meaningless,
        plan.params.title,
        departures,
    )
    return write_files(result, plan.layout.tables, code=code_version(), sources=_sources(plan, name))[0]


def _sources(plan: Plan, table: str) -> dict[str, Any]:
    """Return the repository and commit of each product of a table that was fetched, as far as its manifest is here."""
    found = {}
    for step in ("data", "checkpoints"):
        for name in plan.products(table)[step]:
            folder = plan.layout.folder(step, name)
            if (folder / MANIFEST).is_file():
                source = read_manifest(folder, verify=False)["made_from"].get("source")
                if not isinstance(source, dict):  # of a training: the digest of what it starts from
                    continue
                if commit := source.get("commit") or source.get("revision"):
                    found[f"{step}/{name}"] = {"repository": source.get("repository"), "commit": commit}
    return found
