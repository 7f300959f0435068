"""The report of a scale: one HTML file that asks no server for anything."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dlm.analysis.numbers import shown
from dlm.errors import SettingsError
from dlm.files import write_text
from dlm.inspection import Node, Row, find_rows, lineage_of
from dlm.inspection.rows import table_names
from dlm.params.layout import Layout
from dlm.provenance import code_version
from dlm.reporting.samples import Shown, sample

_SWEEP = "sensitivity_"


@dataclass(frozen=True)
class Cell:
    """One row of a table, with all that is shown of it."""

    row: Row
    value: str
    lineage: Node
    answers: tuple[Shown, ...]


@dataclass(frozen=True)
class Section:
    """One table, or sweep."""

    name: str
    title: str
    body: str
    """The rendering for readers, as HTML."""
    figures: tuple[tuple[str, str, str], ...]
    """Name, what it says, and the drawing as a data address."""
    cells: tuple[Cell, ...]
    left_out: int
    """Cells for which there was no room."""

    @property
    def sweep(self) -> str:
        """Name of the sweep whose table it is."""
        return self.name.removeprefix(_SWEEP)


def write_report(
    layout: Layout, path: Path, tables: Sequence[str] = (), *, about: str = "", answers: int = 2, cells: int = 200
) -> int:
    """Write the report of a scale's tables; return how many there are.

    Args:
        layout: of the scale.
        path: of the HTML file.
        tables: names; none: all that are made.
        about: what the scale is.
        answers: right ones, and as many wrong ones, of each cell.
        cells: of each table, the most that are shown one by one.

    Raises:
        SettingsError: no table is made yet, or not one that was named.
        DataError: results are damaged or of different ages.
    """
    from jinja2 import Environment

    names = list(tables) or table_names(layout)
    if not names:
        raise SettingsError(f"scale '{layout.scale}' has no table yet; snakemake makes them: results/tables/table1.csv")
    sections = [_section(layout, name, answers, cells) for name in names]
    checkpoints = _checkpoints(sections)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"anchor": anchor}
    html = environment.from_string(_resource("report.html")).render(
        scale=layout.scale,
        about=about,
        sections=sections,
        checkpoints=checkpoints,
        code=code_version(),
        style=_resource("report.css"),
        script=_resource("report.js"),
    )
    write_text(path, html)
    return len(sections)


def anchor(*parts: str) -> str:
    """Return a name that a link can lead to."""
    return re.sub(r"[^\w.-]+", "-", "--".join(parts))


def _section(layout: Layout, name: str, answers: int, most: int) -> Section:
    rows = find_rows(layout, f"{name}:")
    text = (layout.tables / f"{name}.md").read_text(encoding="utf-8")
    title, _, body = text.partition("\n\n")
    return Section(
        name=name,
        title=title.removeprefix("# ").strip(),
        body=_html(body),
        figures=tuple(_figures(layout, name)),
        cells=tuple(_cell(row, answers) for row in rows[:most]),
        left_out=max(len(rows) - most, 0),
    )


def _cell(row: Row, answers: int) -> Cell:
    found, kind = row.cell.estimate, row.cell.kind
    error = "" if found.stderr is None else f" ± {shown(kind, found.stderr)}"
    value = f"{shown(kind, found.value)}{error}{'' if kind.loss else ' %'}"
    return Cell(row, value, lineage_of(row), tuple(sample(row, answers)))


def _figures(layout: Layout, name: str) -> Iterator[tuple[str, str, str]]:
    if not name.startswith(_SWEEP):
        return
    from dlm.figures import figures_of, read_sweep_results
    from dlm.figures.style import rendered

    results = read_sweep_results(layout.tables, name.removeprefix(_SWEEP))
    for figure_name, figure in figures_of(results).items():
        drawn = base64.b64encode(rendered(figure, "svg")).decode("ascii")
        says = " ".join(figure.get_suptitle().split())
        yield figure_name, says, f"data:image/svg+xml;base64,{drawn}"


def _checkpoints(sections: Sequence[Section]) -> list[Node]:
    """Return the lines of the checkpoints that the cells name, each once."""
    found: dict[tuple[str, str], Node] = {}
    for section in sections:
        for cell in section.cells:
            for node in cell.lineage.made_from:
                if node.kind == "checkpoint":
                    found.setdefault((node.name, node.told["digest"]), node)
    return list(found.values())


def _html(markdown: str) -> str:
    """Render a table's Markdown; it holds line breaks and small type as HTML."""
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    html = re.sub(r"(</?h)2>", r"\g<1>3>", html)  # below the section's own heading
    # A wide table scrolls by itself, also by keyboard.
    return re.sub(r"<table>(.*?)</table>", r'<div class="wide" tabindex="0"><table>\1</table></div>', html, flags=re.S)


def _resource(name: str) -> str:
    return files("dlm.reporting").joinpath(name).read_text(encoding="utf-8")
