"""How long does a sync of many evaluations take, and does MLflow's server still answer then?

    python benchmarks/mlflow_sync.py [--runs N] [--server]

A project with N evaluations (1600 at least) of 100 documents each is synced with an empty store: the clone's own
database, or with `--server` a tracking server on such a database. Then again with nothing to do, and again with a
hundredth of the evaluations changed. What a browser asks first (the newest hundred runs, the saved view's, the best,
those of one model and task) is asked of a server on that database. Times are seconds of the clock and, of the syncs, of
this process's processor.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from tracking_examples import cell, change_scores, small_project, write_scores  # noqa: E402

from dlm.tracking import sync  # noqa: E402
from dlm.tracking.store import prepare_environment  # noqa: E402
from dlm.tracking.ui import running  # noqa: E402

prepare_environment(timeout=120, retries=1)
SYNC_LIMIT, ANSWER_LIMIT = 300.0, 10.0
A_MODEL = 200
"""Evaluations of a model, in four bundles."""
DOCUMENTS = 100


def make_project(root: Path, runs: int) -> list[Path]:
    """Write N evaluations; return the files of their scores."""
    small_project(root, "other")
    found = []
    for number in range(runs // A_MODEL):
        for bundle in range(4):
            cells = [
                cell("sudoku" if bundle % 2 else "countdown", f"setting{bundle}-{each}", right=each, n=DOCUMENTS)
                for each in range(A_MODEL // 4)
            ]
            found.append(write_scores(root, "many", f"model{number}", cells, steps=2**bundle, bundle=str(bundle + 1)))
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what ``work`` gives, and the seconds that it took."""
    began, processor = time.monotonic(), time.process_time()
    found = work()
    return found, {
        "seconds": round(time.monotonic() - began, 2),
        "processor seconds": round(time.process_time() - processor, 2),
    }


def ask(address: str, experiment: str, where: str, order: list[str]) -> tuple[int, float]:
    """Ask a server for the first hundred runs as its pages do; return how many came, and the seconds."""
    content = {"experiment_ids": [experiment], "filter": where, "order_by": order, "max_results": 100}
    began = time.monotonic()
    request = urllib.request.Request(
        f"{address}/ajax-api/2.0/mlflow/runs/search", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as answer:
        found = json.loads(answer.read())
    return len(found["runs"]), round(time.monotonic() - began, 2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=20_000)
    options.add_argument("--server", action="store_true", help="Sync with a server, and record beside the other.")
    chosen = options.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    result: dict[str, Any] = {"runs": chosen.runs}
    with tempfile.TemporaryDirectory() as folder:
        root, place = Path(folder, "project"), Path(folder, "project" if not chosen.server else "server")
        files = make_project(root, chosen.runs)
        place.mkdir(exist_ok=True)
        sync(root, ["other"])  # imports, and the store's tables
        if chosen.server:
            with running(place) as (address, _):
                os.environ["MLFLOW_TRACKING_URI"] = address
                measure(root, files, address, result)
        else:
            experiment = syncs(root, files, result)
            with running(place) as (address, _):
                answers(address, experiment, result)
    print(common.record("mlflow_sync_server" if chosen.server else "mlflow_sync", result))
    common.demand(
        {
            f"{chosen.runs} runs in under {SYNC_LIMIT:g} s": result["first"]["seconds"] < SYNC_LIMIT,
            f"pages answer in under {ANSWER_LIMIT:g} s": max(result["pages, seconds"].values()) < ANSWER_LIMIT,
        }
    )


def measure(root: Path, files: list[Path], address: str, result: dict[str, Any]) -> None:
    """Sync with a server and ask it."""
    answers(address, syncs(root, files, result), result)


def syncs(root: Path, files: list[Path], result: dict[str, Any]) -> str:
    """Note the times of the three syncs; return the experiment."""
    summary, result["first"] = timed(lambda: sync(root, ["many"]))
    assert summary.new == result["runs"], summary
    summary, result["nothing to do"] = timed(lambda: sync(root, ["many"]))
    assert (summary.new, summary.removed) == (0, 0), summary
    changed = result["runs"] // 100
    for number in range(changed):
        path, place = files[number // (A_MODEL // 4)], number % (A_MODEL // 4)
        change_scores(path, {"numerators": [1.0] * DOCUMENTS, "value": 1.0}, place)
    summary, result["a hundredth changed"] = timed(lambda: sync(root, ["many"]))
    assert (summary.new, summary.removed) == (changed, changed), summary
    return summary.experiments["dlm/many/evaluations"]


def answers(address: str, experiment: str, result: dict[str, Any]) -> None:
    """Note how long the server takes for what a browser asks."""
    asked = {
        "newest": ("", ["attributes.start_time DESC"]),
        "saved view": ("", ["attributes.`run_name` ASC"]),
        "by score": ("", ["metrics.`score/value` DESC"]),
        "one model and task, by score": (
            'params.model = "model7" and params.task = "sudoku"', ["metrics.`score/value` DESC"],
        ),
    }  # fmt: skip
    ask(address, experiment, "", [])  # the first question of a server's life
    found = {name: ask(address, experiment, *question) for name, question in asked.items()}
    assert {count for count, _ in found.values()} == {100}, found
    result["pages, seconds"] = {name: seconds for name, (_, seconds) in found.items()}


if __name__ == "__main__":
    main()
