"""Which of a checkpoint's bundles a command is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlm.cli.common import remedy
from dlm.errors import DataError, SettingsError, did_you_mean
from dlm.params import Cell, Plan

if TYPE_CHECKING:
    from dlm.evaluation.halving import HalvingBudget

_table_option = click.option("--table", metavar="TABLE", help="Only what this table asks of NAME; default: all tables.")
_bundle_option = click.option(
    "--bundle",
    metavar="NUMBER",
    help="One bundle of NAME's tasks only: those of a table, as execution.bundle divides them, or SWEEP-1, SWEEP-2, …",
)


def bundle_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose some of a checkpoint's bundles."""
    return _table_option(_bundle_option(function))


def chosen_bundles(
    plan: Plan, step: str, name: str, table: str | None, number: str | None
) -> dict[str, tuple[Cell, ...]]:
    """Return the cells of the bundles that are asked for, by the bundle's name: one, those of a table, or all.

    Args:
        plan: of the scale.
        step: what is to be made of them, `responses` or `scores`.
        name: of the checkpoint.
        table, number: of a table or a bundle; None: not asked for.

    Raises:
        SettingsError: there is no such checkpoint, table or bundle, or the params do not allow its programs to be run.
        DataError: what they are made from is not there yet; names the commands that make it.
    """
    plan.entry("checkpoints", name)
    bundles = _asked(plan, name, table, number)
    plan.refuse_unsafe(cell.task for cells in bundles.values() for cell in cells)
    _refuse_missing(plan, step, bundles)
    return bundles


def budgets_of(plan: Plan, labels: Iterable[str]) -> dict[Path, HalvingBudget]:
    """Return what each of some bundles may spend, by its folder; nothing of those that answer every document."""
    from dlm.evaluation.halving import HalvingBudget

    found = {}
    for label in labels:
        sweep = plan.sweep_of_bundle(label)
        if sweep is not None and (rungs := sweep.file.scale.budget):
            found[plan.layout.folder("responses", label)] = HalvingBudget(rungs, *sweep.budget_of(label))
    return found


def _asked(plan: Plan, name: str, table: str | None, number: str | None) -> dict[str, tuple[Cell, ...]]:
    if table is not None and number is not None:
        raise SettingsError("--table and --bundle: give one of them; a bundle is one table's already")
    if number is not None:
        return {f"{name}/{number}": plan.bundle(f"{name}/{number}")}
    if table is not None:
        if name not in (found := plan.table_bundles(table)):
            raise SettingsError(f"table '{table}' does not evaluate checkpoint '{name}'; {did_you_mean(name, found)}")
        return {label: plan.bundle(label) for label in found[name]}
    if not (bundles := plan.bundles(name)):
        raise SettingsError(f"no table of scale '{plan.scale}' evaluates checkpoint '{name}'; add it to a table's rows")
    return bundles


def _refuse_missing(plan: Plan, step: str, labels: Iterable[str]) -> None:
    inputs = dict.fromkeys(path for label in labels for path in plan.inputs(step, label))
    if missing := [remedy(plan, path) for path in inputs if not Path(path).is_file()]:
        raise DataError(f"not there yet: {', '.join(missing)}; --table TABLE does without what other tables need")
