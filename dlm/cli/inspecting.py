"""`dlm lineage` and `dlm diff`: what a number was made from, and on which documents two settings disagree."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from dlm.cli.common import made_at, scale_option
from dlm.progress import legible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from dlm.inspection import Answer, Disagreements, Node, Row

_SETTINGS = ("sampler", "likelihood", "execution", "recipe")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


@click.command()
@click.argument("address", metavar="TABLE[:ROW]")
@_as_json
@scale_option
def lineage(address: str, as_json: bool, scale: str) -> None:
    """Tell what a cell of a table was made from: checkpoint, recipe, data, records, commit, run.

    ROW is MODEL/TASK/SETTING, such as table1:llada-base/sudoku/answer48; its beginning, or TABLE alone, lists the rows.
    """
    from dlm.inspection import find_rows, lineage_of

    rows = find_rows(made_at(scale), address)
    if as_json:
        found: Any = [dataclasses.asdict(lineage_of(row)) for row in rows]
        click.echo(json.dumps(found[0] if len(rows) == 1 else found, indent=2, ensure_ascii=False))
        return
    console = _console()
    with console.capture() as capture:
        if len(rows) == 1:
            console.print(_tree(lineage_of(rows[0])))
        else:
            console.print(_list(rows))
    click.echo(capture.get(), nl=False)


@click.command()
@click.argument("one", metavar="ROW")
@click.argument("other", metavar="ROW")
@click.option("--show", type=click.IntRange(0), default=5, show_default=True, help="Documents to show side by side.")
@_as_json
@scale_option
def diff(one: str, other: str, show: int, as_json: bool, scale: str) -> None:
    """Show the documents on which two settings disagree, side by side, with paired counts and McNemar's test.

    ROW is as for `dlm lineage`: TABLE:MODEL/TASK/SETTING, or MODEL/TASK/SETTING of any scores. `dlm compare` names the
    settings in which the two differ.
    """
    from dlm.inspection import disagreements, find_row

    layout = made_at(scale)
    found = disagreements(find_row(layout, one), find_row(layout, other))
    if as_json:
        click.echo(json.dumps(_counts(found) | {"pairs": _pairs(found)}, indent=2, ensure_ascii=False))
        return
    console = _console()
    with console.capture() as capture:
        _print_counts(console, found)
        for pair in found.pairs[:show]:
            _print_pair(console, found, pair)
        if show < len(found.pairs):
            console.print(f"… and {len(found.pairs) - show} more documents (--show {len(found.pairs)})")
    click.echo(capture.get(), nl=False)


def _tree(node: Node) -> Tree:
    from rich.tree import Tree

    tree = Tree(_label(node), guide_style="dim")
    _grow(tree, node)
    return tree


def _grow(tree: Tree, node: Node) -> None:
    from rich.text import Text

    told = [Text.assemble((f"{key}: ", "dim"), legible(value).replace("\n", "\\n")) for key, value in node.told.items()]
    if node.kind in _SETTINGS:  # dozens of short ones: a paragraph, not a line each
        told = [Text(", ").join(told)] if told else []
    for line in told:
        tree.add(line)
    for parent in node.made_from:
        _grow(tree.add(_label(parent)), parent)


def _label(node: Node) -> Any:
    from rich.text import Text

    return Text.assemble((node.kind, "bold cyan"), " ", (node.name, "bold"))


def _list(rows: list[Row]) -> Any:
    from rich.table import Table

    from dlm.analysis.numbers import shown

    table = Table(title=f"{len(rows)} rows; name one to see its lineage", title_justify="left")
    for name, justify in (("row", "left"), ("metric", "left"), ("value", "right"), ("± se", "right"), ("n", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        found, kind = row.cell.estimate, row.cell.kind
        error = "" if found.stderr is None else shown(kind, found.stderr)
        table.add_row(row.address, row.cell.metric, shown(kind, found.value), error, str(found.n))
    return table


def _counts(found: Disagreements) -> dict[str, Any]:
    return {
        "rows": [found.one.address, found.other.address],
        "metric": found.one.cell.metric,
        "documents": found.n,
        "alike": {"right": found.both_right, "not": found.neither_right},
        "better": [found.only_one, found.only_other],
        "left_out": found.left_out,
        "test": found.test,
        "p_value": found.p_value,
    }


def _pairs(found: Disagreements) -> list[dict[str, Any]]:
    return [
        {
            "doc_id": mine.doc_id,
            "prompt": mine.prompt,
            "target": mine.target,
            "counted": [mine.share, theirs.share],
            "responses": [mine.response, theirs.response],
        }
        for mine, theirs in found.pairs
    ]


def _print_counts(console: Console, found: Disagreements) -> None:
    right = "right" if found.all_or_nothing else "better"
    lines = [
        f"1: {found.one.address}",
        f"2: {found.other.address}",
        f"{found.n} documents: {found.both_right} both {'right' if found.all_or_nothing else 'wholly right'}, "
        f"{found.neither_right} neither, {found.only_one} only 1 {right}, {found.only_other} only 2 {right}",
        f"{found.test}: p = {found.p_value:.3g} ({found.only_one} against {found.only_other})",
    ]
    if found.one.cell.kind.loss:
        lines[2] = f"{found.n} documents: {found.only_one} better at 1, {found.only_other} better at 2"
    if found.left_out:
        lines.append(f"{found.left_out} documents that one of them alone was asked are left out")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_pair(console: Console, found: Disagreements, pair: tuple[Answer, Answer]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(expand=True)
    table.add_column(Text(str(pair[0].doc_id)), overflow="fold", ratio=2)
    for number, answer in enumerate(pair, start=1):
        table.add_column(Text(f"{number}: {_mark(found, answer)}"), overflow="fold", ratio=3)
    asked = Text.assemble((legible(_end(pair[0].prompt)), "dim"), "\n\ntarget: ", (legible(pair[0].target), "bold"))
    table.add_row(asked, *(Text(legible(answer.response)) for answer in pair))
    console.print(table)


def _mark(found: Disagreements, answer: Answer) -> str:
    if found.one.cell.kind.loss:
        return f"{answer.share:.3f} a {found.one.cell.kind.each}"
    return {1.0: "right", 0.0: "wrong"}.get(answer.share, f"{100 * answer.share:.0f} % right")


def _end(prompt: str, most: int = 400) -> str:
    """Return the end of a prompt, where the question stands."""
    return prompt if len(prompt) <= most else "…" + prompt[-most:]


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)


INSPECTING = (lineage, diff)
