"""A sweep from one command: sampled with the trained models that are there, scored, tabled, drawn and reported."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from micro_project import twin

from dlm.files import read_json, read_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

FIGURES = ("ranks", "effects")


@pytest.fixture(scope="module")
def project(micro_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin(micro_run, tmp_path_factory.mktemp("sweep") / "project")


def run(project: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(project: Path, end: str = "") -> list[dict[str, str]]:
    with (project / "results" / "tables" / f"sensitivity_template{end}.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_tables_figures_and_report_come_and_nothing_is_trained(project: Path) -> None:
    drawn = [f"results/figures/template/{name}.svg" for name in FIGURES]
    told = run(
        project, "snakemake", "--cores", "2", "results/tables/sensitivity_template.csv", *drawn,
        "--config", "scale=micro",
    )  # fmt: skip
    assert "sensitivity template" in told and not re.search(r"^(train|prepare) ", told, re.MULTILINE)
    lines = rows(project)
    assert len(lines) == 6 and sum(line["baseline"] == "true" for line in lines) == 1
    assert all(line["n"] == "8" and "meaningless" in line["verdict"] for line in lines)
    assert {each["kind"] for each in rows(project, "_ranks")} >= {"method", "pair"}
    assert rows(project, "_effects")
    for name in FIGURES:
        for kind in ("png", "svg"):
            assert (project / "results" / "figures" / "template" / f"{name}.{kind}").stat().st_size > 0
    lineage = read_json(project / "results" / "micro" / "tables" / "sensitivity_template.lineage.json")
    folders = {(project / row["responses"]).parent for row in lineage["rows"]}
    records = [line for folder in folders for line in read_jsonl(folder / "records.jsonl") if "what" in line]
    assert len(records) >= 6 * 8 and all("steps" in record for record in records)
    run(project, "dlm", "report", "sensitivity_template", "--scale", "micro")
    page = (project / "results" / "micro" / "report.html").read_text()
    assert page.count('class="token"') > 6 and all(line["setting"] in page for line in lines)
