"""What settings published figures rest on, as far as it is known, and in which of them a row departs from those.

The params of the paper scale declare it. Each of their rows that is compared with a figure asks what the figure's
publisher asked, but for what its table names under `differs`. A row of any other scale that is compared with the same
figure is looked at beside them: a changed sampler keeps its name, a stand-in its row, so names prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dlm.analysis.published import Figure, Published
from dlm.params import Layout, Plan, load_params, scales
from dlm.params.asking import asked, changes
from dlm.params.plan import DECLARING
from dlm.settings import TableRow

UNDECLARED = f"not declared as published in params/{DECLARING}.yaml"
"""What is said where no row of the paper scale is compared with a figure: its settings are not known."""


class _Place(NamedTuple):
    """A row and task of the paper scale."""

    table: str
    row: TableRow
    task: str


@dataclass(frozen=True)
class Declaration:
    """The paper scale's rows, by the figure that each is compared with."""

    plan: Plan | None
    """Of the paper scale; None: the project has none."""
    places: Mapping[Figure, Sequence[_Place]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, published: Published) -> Declaration:
        """Return the declaration of the project that a plan is of.

        Raises:
            SettingsError: its params cannot be read.
        """
        root = plan.layout.root
        if plan.scale == DECLARING:
            declaring = plan
        elif DECLARING in scales(root / "params"):
            # What a branch is pinned to here is this project's choice, and none of the publisher's.
            declaring = Plan(DECLARING, load_params(DECLARING, root, pins=False), Layout(DECLARING, root))
        else:
            return cls(None)
        places: dict[Figure, list[_Place]] = {}
        for name, table in declaring.params.tables.items():
            for row in table.rows:
                for task in table.tasks:
                    figure = published.join_row(table, row, declaring.params.tasks[task]).figure
                    if figure is not None:
                        places.setdefault(figure, []).append(_Place(name, row, task))
        return cls(declaring, places)

    def departures(self, plan: Plan, table: str, row: TableRow, task: str, figure: Figure) -> tuple[str, ...]:
        """Return, in words, the settings of a row for one task that are not known to be those of a figure.

        Of several rows that are compared with the figure the nearest counts, the one of the same place where two are
        as near. What its table names as not as published is inherited.

        Args:
            plan: of the row's scale.
            table: name of the row's table.
            row, task: as the plan has them.
            figure: what the row is compared with.
        """
        if self.plan is None or figure not in self.places:
            return (UNDECLARED,)
        ours, own = asked(plan.params, row, task), (table, row.label, task)
        found = [
            (list(changes(ours, asked(self.plan.params, place.row, place.task))), place)
            for place in self.places[figure]
        ]
        changed, (name, near, of_task) = min(
            found, key=lambda each: (len(each[0]), (each[1].table, each[1].row.label, each[1].task) != own)
        )
        return *self.plan.params.tables[name].differences(near, of_task), *map(str, changed)
