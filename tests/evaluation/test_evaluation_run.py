"""Sampling into records and scoring them: resumed, replayed, added to."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import without_torch
from evaluation_examples import (
    DOCUMENTS,
    EXECUTION,
    TASKS,
    WARM,
    byte_tokenizer,
    cell,
    save_checkpoint,
    save_documents,
)

from dlm.errors import DataError, SettingsError
from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.harness import load_tasks, run
from dlm.evaluation.lm import DiffusionLM
from dlm.evaluation.outcomes import read_outcome
from dlm.evaluation.records import RecordStore
from dlm.files import read_json, read_jsonl, read_manifest
from dlm.settings import EvenSelector, LikelihoodSettings

PREFIX = "<reasoning>\n"
CELLS = [
    cell("words"),
    cell("words", setting="warm", sampler=WARM),
    cell("countdown", response_prefix=PREFIX),
    cell("sudoku", chat=False),
    cell("choice"),
]


@dataclasses.dataclass
class Place:
    """A project folder with a checkpoint and test sets."""

    root: Path

    @property
    def records(self) -> Path:
        return self.bundle() / "records.jsonl"

    def bundle(self, number: int = 1) -> Path:
        return self.root / "responses" / str(number)

    def data(self, name: str) -> Path:
        return self.root / "data" / name

    def sample(self, cells: Any = CELLS, **changes: Any) -> dict[str, Any]:
        return self.sample_bundles({1: cells}, **changes)[0]

    def sample_bundles(self, bundles: dict[int, Any], **changes: Any) -> list[dict[str, Any]]:
        arguments = {"execution": EXECUTION, **changes}
        bundles = {self.bundle(number): cells for number, cells in bundles.items()}
        return sample_cells(bundles, checkpoint_dir=self.root / "checkpoint", data_folder_of=self.data, **arguments)

    def score(self, cells: Any = CELLS, scores: str = "scores") -> dict[str, Any]:
        return self.score_bundle(1, cells, scores)

    def score_bundle(self, number: int, cells: Any, scores: str = "scores") -> dict[str, Any]:
        return score_cells(
            self.bundle(number),
            cells,
            checkpoint_dir=self.root / "checkpoint",
            data_folder_of=self.data,
            out_dir=self.root / scores,
            scale="micro",
        )

    def lines(self) -> list[dict[str, Any]]:
        return [line for line in read_jsonl(self.records) if "what" in line]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("project"))
    save_checkpoint(place.root / "checkpoint")
    for name, rows in DOCUMENTS.items():
        save_documents(place.data(name), rows)
    return place


@pytest.fixture(scope="module")
def sampled(original: Place) -> Place:
    original.sample()
    return original


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    """A copy without records."""
    shutil.copytree(original.root, tmp_path / "copy", ignore=shutil.ignore_patterns("responses", "scores*"))
    return Place(tmp_path / "copy")


@pytest.fixture
def done(sampled: Place, tmp_path: Path) -> Place:
    """A copy with records."""
    shutil.copytree(sampled.root, tmp_path / "copy")
    return Place(tmp_path / "copy")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by one each time weights are loaded."""
    import dlm.models

    seen: list[Path] = []
    real = dlm.models.load_denoiser
    monkeypatch.setattr(
        dlm.models, "load_denoiser", lambda folder, *rest: [seen.append(folder), real(folder, *rest)][1]
    )
    return seen


def timeless(value: Any) -> Any:
    """The same without what a clock says."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "seconds"}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def test_replay_equals_the_direct_run(sampled):
    replayed = sampled.score()
    from dlm.models import load_denoiser

    denoiser = load_denoiser(sampled.root / "checkpoint", EXECUTION)
    for one, found in zip(CELLS, replayed["cells"], strict=True):
        parts = {"response_prefix": one.response_prefix, "seed": one.seed, "execution": EXECUTION}
        lm = DiffusionLM(denoiser, sampler=one.sampler, likelihood=one.likelihood, **parts)
        tasks = load_tasks([one], sampled.data)[one.task]
        outcome = read_outcome(run(lm, tasks, one), tasks, one)
        assert (found["value"], found["n"]) == (outcome.value, len(outcome.documents))
        assert found["numerators"] == [document.numerator for document in outcome.documents]
        samples = [row for row in read_jsonl(sampled.root / "scores" / "samples.jsonl") if _is_of(row, one)]
        if one.sampler:
            assert [[row["response"]] for row in samples] == [d.filtered for d in outcome.documents]
        else:
            assert [row["loglikelihoods"] for row in samples] == [[x for x, _ in d.filtered] for d in outcome.documents]


def _is_of(row: dict[str, Any], one: Any) -> bool:
    return (row["task"], row["setting"], row["chat"]) == (one.task, one.setting, one.chat)


def test_scores_say_what_they_are(sampled):
    scores = sampled.score()
    assert read_json(sampled.root / "scores" / "scores.json") == scores
    assert {key: scores[key] for key in ("format", "model", "scale")} == {
        "format": "dlm-scores/1",
        "model": "tiny",
        "scale": "micro",
    }
    checkpoint = read_manifest(sampled.root / "checkpoint")["digest"]
    for one, found in zip(CELLS, scores["cells"], strict=True):
        assert (found["task"], found["setting"], found["chat"]) == (one.task, one.setting, one.chat)
        assert found["value"] == pytest.approx(sum(found["numerators"]) / sum(found["weights"]), abs=1e-12)
        assert found["n"] == len(found["weights"]) == len(found["doc_ids"]) == len(DOCUMENTS[one.task])
        assert found["checkpoint"] == checkpoint
        assert found["lm_eval"]["task_version"] == 1.0
        assert set(found["how"]) == set(scores["executions"])
    words, choice = scores["cells"][0], scores["cells"][4]
    assert (words["forward_passes"], words["requests"], words["truncated_share"]) == (3 * 4, 3, 1.0)
    assert (words["empty_share"], words["mean_tokens"]) == (0.0, 8.0)
    assert choice["requests"] == 8
    # Of each question, three choices of one token share a pass, and one of two tokens takes its three maskings.
    assert choice["forward_passes"] == 2 * (1 + 3)
    assert "truncated_share" not in choice


def test_records_hold_the_order_of_decoding_where_that_is_asked_for(sampled, place):
    place.sample(execution=dataclasses.replace(EXECUTION, record_order=True))
    plain = {record["what"]: record for record in sampled.lines()}
    for record in place.lines():
        steps, confidences = record.pop("steps", None), record.pop("confidences", None)
        tokens = record.pop("token_ids", None)
        assert timeless(record) == timeless(plain[record["what"]]), "nothing else is changed"
        assert (steps is None) == (record["kind"] == "likelihood")
        if steps is not None:
            assert len(steps) == len(confidences) == len(tokens) == 8
            ends = (place for place, token in enumerate(tokens) if token in (0, 3))  # <|endoftext|>, <|im_end|>
            text = byte_tokenizer().decode(tokens[: next(ends, 8)], skip_special_tokens=True)
            assert record["response"].endswith(text)
            assert set(steps) == set(range(record["forward_passes"]))
            assert all(0 < confidence <= 1 for confidence in confidences)
    for found, without in zip(place.score()["cells"], sampled.score()["cells"], strict=True):
        assert ("order_tau" in found, "order_tau" in without) == (found["task"] != "choice", False)
        assert -1 <= found.pop("order_tau", 0) <= 1
        assert timeless(found) == timeless(without)
        assert found.get("tokens_per_pass", 2.0) == (1.0 if found["setting"] == "warm" else 2.0)


def test_an_order_that_only_some_answers_have_gives_no_tau(place):
    """Records from before the order was asked for stay good, and no mean is made of the others alone."""
    place.sample(execution=dataclasses.replace(EXECUTION, record_order=True))
    lines = [json.loads(line) for line in place.records.read_text().splitlines()]
    first = next(line for line in lines if line["kind"] == "generate")
    for key in ("steps", "confidences", "token_ids"):
        del first[key]
    place.records.write_text("".join(json.dumps(line) + "\n" for line in lines))
    place.sample(execution=dataclasses.replace(EXECUTION, record_order=True))
    assert len(place.records.read_text().splitlines()) == len(lines), "nothing is sampled anew"
    sampled = [found for found in place.score()["cells"] if "tokens_per_pass" in found]
    without = [(found["task"], found["setting"]) for found in sampled if "order_tau" not in found]
    assert without == [(first["task"], first["setting"])] and len(sampled) > 1


def test_analysis_reads_the_scores(sampled):
    from dlm.analysis.cells import read_cells

    assert len(read_cells("tiny", "micro", sampled.score())) == len(CELLS)


def test_samples_tell_what_was_asked_and_answered(sampled):
    sampled.score()
    rows = list(read_jsonl(sampled.root / "scores" / "samples.jsonl"))
    assert len(rows) == 3 + 3 + 2 + 2 + 2
    countdown, choice = rows[6], rows[-2]
    assert countdown["prompt"].endswith(f"<|im_start|>assistant\n{PREFIX}")
    assert countdown["response"].startswith(PREFIX)
    assert (countdown["doc_id"], countdown["target"]) == ("c0", "1+2+3")
    assert choice["choices"] == ["7", "8", "9", "10"]
    assert choice["mc_stderrs"] == [0.0] * 4  # three maskings are all that two tokens have
    assert countdown["outcome"]["weight"] == 1


def test_the_responses_have_a_manifest(done):
    manifest = read_manifest(done.bundle())
    assert (manifest["kind"], manifest["name"], list(manifest["files"])) == ("responses", "tiny", ["records.jsonl"])
    parents = manifest["made_from"]["parents"]
    assert sorted(parents) == ["choice", "countdown", "sudoku", "tiny", "words"]
    assert parents["words"] == read_manifest(done.data("words"))["digest"]
    assert str(done.root) not in done.records.read_text() + json.dumps(manifest)


def test_a_second_run_samples_nothing_and_loads_no_weights(done, loads):
    before = done.records.read_bytes()
    assert done.sample()["digest"] == read_manifest(done.bundle())["digest"]
    assert done.records.read_bytes() == before
    assert loads == []


def test_scoring_loads_no_weights_and_none_are_needed(done, loads):
    (done.root / "checkpoint" / "model.safetensors").unlink()
    scores = done.score()
    assert loads == []
    assert len(scores["cells"]) == len(CELLS)


def test_scoring_again_gives_the_same_bytes(sampled):
    sampled.score(scores="scores-1")
    sampled.score(scores="scores-2")
    for name in ("scores.json", "samples.jsonl"):
        assert (sampled.root / "scores-1" / name).read_bytes() == (sampled.root / "scores-2" / name).read_bytes()


class Killed(BaseException):
    """Stands for a signal in the middle of the work."""


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_killed_run_continues_where_it_was(sampled, place, monkeypatch, batches):
    real, left = RecordStore.append, [batches]

    def append(store: RecordStore, records: Any) -> int:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(store, records)

    monkeypatch.setattr(RecordStore, "append", append)
    with pytest.raises(Killed):
        place.sample()
    monkeypatch.setattr(RecordStore, "append", real)
    kept = len(place.lines())
    with place.records.open("ab") as stream:
        stream.write(b'{"kind": "generate", "what": "half')
    place.sample()
    assert (kept > 0) == (batches > 0)
    assert sorted(timeless(place.lines()), key=_what) == sorted(timeless(sampled.lines()), key=_what)
    place.score()
    assert timeless(place.score()["cells"]) == timeless(sampled.score()["cells"])


BUNDLES = {1: CELLS[:2], 2: CELLS[2:4], 3: CELLS[4:]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of answers that a model is asked for, each time it is asked."""
    seen: list[int] = []
    for kind in ("generate", "estimate"):
        real = getattr(DiffusionLM, kind)
        monkeypatch.setattr(DiffusionLM, kind, lambda lm, asks, real=real: [seen.append(len(asks)), real(lm, asks)][1])
    return seen


def test_bundles_give_the_scores_of_one_job_and_load_the_weights_once(sampled, place, loads):
    whole = sampled.score()
    manifests = place.sample_bundles(BUNDLES)
    assert len(loads) == 1
    assert [len(manifest["made_from"]["settings"]) for manifest in manifests] == [2, 2, 1]
    found, executions = [], {}
    for number, cells in BUNDLES.items():
        scores = place.score_bundle(number, cells)
        assert scores["responses"] == {str(number): read_manifest(place.bundle(number))["digest"]}
        assert {cell.pop("bundle") for cell in scores["cells"]} == {str(number)}
        found += scores["cells"]
        executions |= scores["executions"]
    assert {cell.pop("bundle") for cell in whole["cells"]} == {"1"}
    assert timeless(found) == timeless(whole["cells"])
    assert executions == whole["executions"]


def test_cells_divided_otherwise_are_not_sampled_again(done, loads, asked):
    done.sample_bundles(BUNDLES)
    assert (loads, asked) == ([], [])
    for number in BUNDLES:
        manifest = read_manifest(done.bundle(number))
        assert list(manifest["files"]) == ["records.jsonl"]
    shutil.rmtree(done.bundle(1))  # what the others have of it stands on its own
    assert [len(done.score_bundle(number, BUNDLES[number])["cells"]) for number in (2, 3)] == [2, 1]
    done.sample(CELLS)
    assert asked == [3, 3]


def test_a_cell_more_is_all_that_is_sampled(place, asked):
    place.sample_bundles({1: CELLS[:1], 2: CELLS[2:3]})
    before = place.records.read_bytes()
    place.sample_bundles({1: CELLS[:2], 2: CELLS[2:4]})
    assert asked == [3, 2, 3, 2]
    assert place.records.read_bytes().startswith(before)


def test_half_a_line_of_a_bundle_that_is_being_sampled_is_left_to_its_writer(done, asked):
    half = b'{"kind": "generate", "what": "half'
    with done.records.open("ab") as stream:
        stream.write(half)
    done.sample_bundles({2: CELLS})
    assert asked == []
    assert done.records.read_bytes().endswith(half)
    assert half not in (done.bundle(2) / "records.jsonl").read_bytes()


def test_a_bundle_is_copied_from_while_its_writer_has_it_open(done, asked):
    with RecordStore(done.records, writable=True):
        done.sample_bundles({2: CELLS[:3]})
    assert asked == []


def test_what_may_not_be_used_is_sampled_again(done, asked):
    done.sample_bundles({2: CELLS[:1]}, usable=lambda folder, execution: folder != done.bundle(1))
    assert asked == [3]


def test_a_damaged_line_of_another_bundle_is_named(done):
    lines = done.records.read_bytes().splitlines(keepends=True)
    done.records.write_bytes(b"".join([*lines[:3], b"{}\n", *lines[4:]]))
    with pytest.raises(DataError, match=r"responses/1/records.jsonl:4: damaged record"):
        done.sample_bundles({2: CELLS})


def _what(line: dict[str, Any]) -> str:
    return line["what"]


def test_only_what_is_missing_is_sampled(place, asked):
    limited = cell("words", task_settings=dataclasses.replace(TASKS["words"], limit=2))
    place.sample([limited])
    before = place.records.read_bytes()
    place.sample([cell("words"), cell("sudoku")])
    place.sample([cell("words"), cell("sudoku"), cell("words", setting="warm", sampler=WARM)])
    assert asked == [2, 1, 2, 3]
    assert place.records.read_bytes().startswith(before)
    assert place.score([cell("words")])["cells"][0]["n"] == 3
    assert place.score([limited])["cells"][0]["n"] == 2


def test_batch_size_changes_how_and_not_what(sampled, place):
    place.sample(execution=dataclasses.replace(EXECUTION, batch_size=1))
    here, there = (sorted(one.lines(), key=_what) for one in (place, sampled))
    assert [line["what"] for line in here] == [line["what"] for line in there]
    assert {line["how"] for line in here}.isdisjoint(line["how"] for line in there)
    assert [line.get("response") for line in here] == [line.get("response") for line in there]
    for one, other in zip(here, there, strict=True):
        assert one.get("loglikelihood", 0.0) == pytest.approx(other.get("loglikelihood", 0.0), abs=1e-4)


FEW_STEPS = dataclasses.replace(WARM, selector=EvenSelector(steps=2))


@pytest.mark.parametrize(
    ("changed", "document"),
    [
        (cell("words", seed=1), "w0"),
        (cell("words", response_prefix="x"), "w0"),
        (cell("words", chat=False), "w0"),
        (cell("words", sampler=FEW_STEPS), "w0"),
        (cell("choice", likelihood=LikelihoodSettings(samples=4)), "n0"),
    ],
    ids=["seed", "prefix", "chat", "sampler", "samples"],
)
def test_a_record_of_other_settings_is_not_used(sampled, changed, document):
    with pytest.raises(DataError, match=rf"no record for task 'dlm_.*', document '{document}'"):
        sampled.score([changed])


def test_a_setting_of_another_name_and_the_same_content_shares_its_records(sampled):
    renamed = cell("words", setting="renamed")
    found, known = sampled.score([renamed, cell("words")], scores="scores-4")["cells"]
    assert found["setting"] == "renamed"
    assert found["what"] == known["what"]


def test_a_changed_checkpoint_or_prompt_is_told(done):
    shutil.rmtree(done.root / "checkpoint")
    save_checkpoint(done.root / "checkpoint", seed=1)
    with pytest.raises(DataError, match=r"records.jsonl: no record for .* run `dlm sample tiny`"):
        done.score()
    before = len(done.lines())
    done.sample()
    assert len(done.lines()) == 2 * before


def test_a_changed_test_set_asks_for_what_changed_only(done):
    rows = [*DOCUMENTS["words"][:2], {"id": "w9", "question": "New?", "answer": "1"}]
    save_documents(done.data("words"), rows)
    with pytest.raises(DataError, match=r"document 'w9' \(setting 'short'\) and 0 more requests"):
        done.score()


def test_altered_records_are_refused(done):
    text = done.records.read_text()
    done.records.write_text(text.replace('"tokens": 8', '"tokens": 9', 1))
    with pytest.raises(DataError, match=r"records.jsonl: content differs from the manifest"):
        done.score()


def test_an_answer_that_is_changed_is_scored_anew_and_nothing_is_sampled(done):
    """A filter's change: the answers stay, the score moves."""
    from dlm.evaluation import metrics

    before = done.score([cell("words")])["cells"][0]
    real, metrics.final_number = metrics.final_number, lambda text: "7"
    try:
        after = done.score([cell("words")])["cells"][0]
    finally:
        metrics.final_number = real
    assert (before["value"], after["value"]) == (0.0, 1.0)


def test_cells_of_two_checkpoints_or_none_are_refused(sampled):
    with pytest.raises(SettingsError, match="one checkpoint, got those of tiny, other"):
        sampled.sample([cell("words"), cell("words", checkpoint="other")])
    with pytest.raises(SettingsError, match="got those of none"):
        sampled.score([])


def test_a_task_and_its_settings_must_fit(place):
    with pytest.raises(SettingsError, match="lm-eval's 'dlm_word_problems' asks for sampled answers"):
        place.sample([cell("words", sampler=None, likelihood=LikelihoodSettings())])
    with pytest.raises(SettingsError, match="lm-eval's 'dlm_number_choice' asks for likelihoods"):
        place.sample([cell("choice", sampler=WARM, likelihood=None)])


SCORE = """
import json, pathlib, socket, sys
def refuse(*_): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from dlm.evaluation import score_cells
root = pathlib.Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from scoring_cells import CELLS
score_cells(root / "responses" / "1", CELLS, checkpoint_dir=root / "checkpoint", out_dir=root / "scores-3",
    data_folder_of=lambda name: root / "data" / name, scale="micro")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_scoring_is_quiet_and_needs_neither_torch_nor_network(sampled, tmp_path):
    fields = {field.name: getattr(CELLS[0], field.name) for field in dataclasses.fields(CELLS[0])}
    (tmp_path / "scoring_cells.py").write_text(
        f"from types import SimpleNamespace\nfrom dlm.settings import *\nCELLS = [SimpleNamespace(**{fields!r})]\n"
    )
    command = [sys.executable, without_torch.__file__, "-c", SCORE, str(sampled.root), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "torch" not in json.loads(done.stdout)
    assert read_json(sampled.root / "scores-3" / "scores.json")["cells"] == sampled.score([CELLS[0]])["cells"]
