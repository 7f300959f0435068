"""Two results: every setting in which they differ is named, and the test fits the documents they have in common."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from analysis_examples import cell, right
from scipy.stats import norm

from dlm.analysis.comparing import compare, find_result
from dlm.errors import SettingsError
from dlm.files import write_json, write_jsonl, write_manifest

SAMPLER = {"canvas": {"kind": "full", "max_new_tokens": 16}, "selector": {"kind": "even", "steps": 8}}
EXECUTION = {"device": "cpu", "batch_size": 16, "versions": {"torch": "2.13.0"}}
DATA = {"words": "d"}
CODE = {"version": "0.1.0", "commit": "b" * 40, "edited": []}


def add(
    root: Path,
    model: str,
    count: int,
    *,
    sampler: Any = SAMPLER,
    execution: Any = EXECUTION,
    data: Any = DATA,
    **changes: Any,
) -> None:
    """Write responses and scores of one cell."""
    found = cell("words", right(count, 100), bundle="1", how=["h"], chat=True, response_prefix="")
    found |= {"doc_ids": list(range(100)), **changes}
    folder = root / "results" / "tiny" / "responses" / model / "1"
    write_jsonl(folder / "records.jsonl", [{"kind": "generate"}])
    asked = {key: found[key] for key in ("task", "setting", "chat", "response_prefix")}
    told = {"sampler": sampler, "dataset": "words", "task_settings": {"title": "Words", "num_fewshot": 0}}
    settings = [{**asked, **told}]
    write_manifest(
        folder,
        kind="responses",
        name=model,
        made_from={"parents": {model: "k", **data}, "settings": settings, "code": CODE},
    )
    scores = {
        "format": "dlm-scores/1", "model": model, "scale": "tiny", "code": CODE, "executions": {"h": execution},
        "cells": [found],
    }  # fmt: skip
    write_json(root / "results" / "tiny" / "scores" / model / "1" / "scores.json", scores)


def differing(root: Path, one: str = "one/words", other: str = "other/words") -> dict[str, tuple[str, str]]:
    found = compare(find_result(root, "tiny", one), find_result(root, "tiny", other))
    return {name: (left, right) for name, left, right in found.differing}


def test_every_setting_that_differs_is_named_and_no_other(tmp_path: Path) -> None:
    steps, batch = copy.deepcopy(SAMPLER), copy.deepcopy(EXECUTION)
    steps["selector"]["steps"], batch["versions"]["torch"] = 4, "2.12.0"
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 50, sampler=steps, execution=batch)
    assert differing(tmp_path) == {
        "model": ("one", "other"),
        "sampler.selector.steps": ("8", "4"),
        "execution.versions.torch": ("2.13.0", "2.12.0"),
    }
    assert differing(tmp_path, other="one/words") == {}


def test_a_setting_that_one_side_does_not_have_is_named(tmp_path: Path) -> None:
    threshold = {**SAMPLER, "selector": {"kind": "threshold", "threshold": 0.9}}
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 60, sampler=threshold)
    assert differing(tmp_path)["sampler.selector.threshold"] == ("—", "0.9")
    assert differing(tmp_path)["sampler.selector.steps"] == ("8", "—")


def test_the_same_documents_are_compared_one_by_one(tmp_path: Path) -> None:
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 50)  # ten documents lost, none won
    found = compare(find_result(tmp_path, "tiny", "one/words"), find_result(tmp_path, "tiny", "other/words"))
    assert found.paired is not None and found.difference == pytest.approx(-0.1)
    error = (0.1 * 0.9 / 99) ** 0.5  # of a hundred differences, ten of which are -1
    assert found.paired.stderr == pytest.approx(error)
    assert found.p_value == pytest.approx(2 * 0.5**10)


def test_the_test_sets_of_other_cells_of_the_bundle_are_no_difference(tmp_path: Path) -> None:
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 50, data={"sudoku": "zz", "words": "d"})
    assert differing(tmp_path) == {"model": ("one", "other")}
    found = compare(find_result(tmp_path, "tiny", "one/words"), find_result(tmp_path, "tiny", "other/words"))
    assert found.paired is not None


def test_another_content_of_the_own_test_set_is_one(tmp_path: Path) -> None:
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 50, data={"words": "e"})
    assert differing(tmp_path)["digest of data"] == ("d", "e")
    found = compare(find_result(tmp_path, "tiny", "one/words"), find_result(tmp_path, "tiny", "other/words"))
    assert found.paired is None


def test_other_documents_are_compared_as_two_samples(tmp_path: Path) -> None:
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 50, doc_ids=list(range(100, 200)))
    found = compare(find_result(tmp_path, "tiny", "one/words"), find_result(tmp_path, "tiny", "other/words"))
    error = (0.6 * 0.4 / 99 + 0.5 * 0.5 / 99) ** 0.5
    assert found.paired is None and found.p_value == pytest.approx(2 * norm.sf(0.1 / error))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one", "'one': name a result as MODEL/TASK or MODEL/TASK/SETTING"),
        ("onne/words", "no scores of a model 'onne' at scale 'tiny'; did you mean 'one'"),
        ("one/word", "no scores of task 'word'; did you mean 'words'"),
        ("one/words/block", "not answered at setting 'block'; did you mean 'blocks'"),
    ],
)
def test_a_name_that_fits_nothing(tmp_path: Path, name: str, message: str) -> None:
    add(tmp_path, "one", 60)
    with pytest.raises(SettingsError, match=message):
        find_result(tmp_path, "tiny", name)


def test_other_metrics_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 60, metric="acc")
    with pytest.raises(SettingsError, match=r"scored by exact_match \(none\) and acc \(none\)"):
        compare(find_result(tmp_path, "tiny", "one/words"), find_result(tmp_path, "tiny", "other/words"))


def test_the_verb(tmp_path: Path, repository: Path) -> None:
    for name in ("params", "data"):
        (tmp_path / name).symlink_to(repository / name)
    (tmp_path / "Snakefile").touch()
    add(tmp_path, "one", 60)
    add(tmp_path, "other", 50)
    command = [sys.executable, "-m", "dlm", "compare", "one/words", "other/words"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=280)
    assert "difference: -10.00 ± 3.02 percentage points on the same documents, p = 0.00195" in done.stdout
    assert "│ model" in done.stdout and "selector" not in done.stdout


def test_perplexities_are_compared_by_their_logarithms(tmp_path: Path) -> None:
    from dlm.cli.planning import _comparison

    nats = [20.0 + place % 7 for place in range(100)]
    for name, factor in (("one", 1.0), ("other", 0.9)):
        losses = [factor * each for each in nats]
        value = math.exp(sum(losses) / 1000)
        add(tmp_path, name, 60, metric="word_perplexity", numerators=losses, weights=[10.0] * 100, value=value)
    found = compare(find_result(tmp_path, "tiny", "one/words"), find_result(tmp_path, "tiny", "other/words"))
    assert found.difference == pytest.approx(-0.1 * sum(nats) / 1000) and found.p_value < 1e-9
    told = _comparison(found)
    assert f"one/words/blocks: {math.exp(sum(nats) / 1000):.4g} [" in told and "%" not in told
    assert f"difference: {found.difference:+.4f} ± " in told
    assert f"nats per word (×{math.exp(found.difference):.4f}) on the same documents" in told
