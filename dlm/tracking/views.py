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


def saved_view(kind: str) -> dict[str, str]:
    """Return the tags that give an experiment of ``trainings`` or ``evaluations`` its saved view."""
    if kind == "trainings":
        name, columns = "Trainings: losses", _TRAININGS
    else:
        name, columns = "Evaluations: scores and costs", _EVALUATIONS
    content = {"name": name, "createdAt": 0, "updatedAt": 0, "state": _packed(_state(columns))}
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


def _state(columns: Mapping[str, int]) -> dict[str, object]:
    return {
        "searchFilter": "",
        "orderByKey": "tags.`mlflow.runName`",
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
