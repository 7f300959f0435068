"""Saved views of MLflow's UI: which columns a person sees first. MLflow keeps them as tags of the experiment."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

VIEW_TAG = "mlflow.sharedViewState."
KIND_TAG = "mlflow.experimentKind"
KIND = "custom_model_development"
"""MLflow then shows runs, not traces of language-model applications."""

VIEW_KEY = "dlm"
"""Name of the saved view in links: `?viewStateShareKey=dlm`."""

_FIXED = {"1": 73, "attributes.`Run Name`": 300, "runDateAndNestInfo": 140}
"""Columns that MLflow always shows, and their widths in pixels."""
_EVALUATIONS = {
    "params.`sampler.selector.steps`": 175,
    "metrics.`score/value`": 100,
    "metrics.`score/ci_low`": 105,
    "metrics.`score/ci_high`": 110,
    "metrics.`score/n`": 75,
    "metrics.`cost/forward_passes`": 160,
    "params.`model`": 150,
    "params.`task`": 130,
    "params.`setting`": 100,
}
_TRAININGS = {
    "metrics.`loss/train`": 100,
    "metrics.`loss/held_out`": 120,
    "params.`steps`": 80,
    "params.`objective.kind`": 120,
    "tags.`recipe`": 130,
    "tags.`start`": 130,
    "tags.`dataset`": 110,
}


_CHARTS = (
    {
        "uuid": "dlm-scatter",
        "type": "SCATTER",
        "xaxis": {"key": "cost/forward_passes", "type": "METRIC"},
        "yaxis": {"key": "score/value", "type": "METRIC"},
        "runsCountToCompare": 1000,
    },
    {
        "uuid": "dlm-parallel",
        "type": "PARALLEL",
        "selectedParams": ["sampler.canvas.block_size", "sampler.proposer.temperature", "sampler.selector.steps"],
        "selectedMetrics": ["cost/forward_passes", "score/value"],
        "showAllRuns": True,
    },
)
"""Charts that stand above those that MLflow makes of every metric."""
_SECTION = {
    "uuid": "dlm-settings",
    # MLflow gives such charts titles of its own: which direction is good has no other place.
    "name": "Score (higher: better) by passes (fewer: cheaper)",  # more is cut
    "display": True,
    "isReordered": True,
    "columns": 1,  # three beside each other leave no room for the names of the axes
    "cardHeight": 420,
}


def saved_view(kind: str) -> dict[str, str]:
    """Return the tags that give an experiment of ``trainings`` or ``evaluations`` its saved view."""
    if kind == "trainings":
        name, state = "Trainings: losses", _state(_TRAININGS)
    else:
        name, state = "Evaluations: scores and costs", _state(_EVALUATIONS) | _charts()
    content = {"name": name, "createdAt": 0, "updatedAt": 0, "state": _packed(state)}
    return {VIEW_TAG + VIEW_KEY: json.dumps(content), KIND_TAG: KIND}


def edited(view: str) -> bool:
    """Whether a person has saved a view of theirs in the place of ours."""
    try:
        return json.loads(view)["updatedAt"] != 0
    except (ValueError, KeyError, TypeError):
        return False


def link(server: str, experiment: str) -> str:
    """Return the address of an experiment's saved view."""
    return f"{server}/#/experiments/{experiment}/runs?viewStateShareKey={VIEW_KEY}&workflowType=machine_learning"


def _charts() -> dict[str, object]:
    """Return the part of a state that says which charts there are, over all runs of the list."""
    made = {"deleted": False, "isGenerated": False}
    return {
        "compareRunCharts": [{**chart, "metricSectionId": _SECTION["uuid"], **made} for chart in _CHARTS],
        "compareRunSections": [{**_SECTION, **made}],
        "isAccordionReordered": True,
        "runsHiddenMode": "SHOW_ALL",
    }


def _state(columns: Mapping[str, int]) -> dict[str, object]:
    return {
        "searchFilter": "",
        # A column of the table of runs: the tag of the same content, which the header's arrow takes, is joined to it,
        # and thousands of runs take a minute where a database does not know how large its tables are.
        "orderByKey": "attributes.`run_name`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": [*_FIXED, *columns],
        "columnWidths": {**_FIXED, **columns},
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _packed(state: dict[str, object]) -> str:
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
