"""The digest of the code that a step's results come from: what changes it, what does not, and what it covers."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import grimp
import pytest

from dlm.params.code import ROOMS, code_digest, source_digest

CODE = '''
"""What it is."""

LIMIT = 3


class Rule:
    """A rule."""

    size: int = 1
    """How large."""

    def of(self, value: int, *more: int, name: str = "x") -> int:
        """Say more."""
        # why
        return value * LIMIT if value else sum(more)
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("What it is.", "What it was."),
        ("Say more.", "Say less."),
        ("How large.", "How small."),
        ("        # why\n", ""),
        ("value * LIMIT if value else sum(more)", "(value * LIMIT) if value else (\n            sum(more)\n        )"),
        ('"x"', "'x'"),
        ("\n    size", "\n\n\n    size"),
    ],
)
def test_words_and_formatting_change_nothing(before: str, after: str) -> None:
    assert before in CODE
    assert source_digest(CODE) == source_digest(CODE.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("value * LIMIT", "value + LIMIT"),
        ("value * LIMIT", "LIMIT * value"),
        ("*more: int, name", "*, more: int, name"),
        ('"x"', 'b"x"'),
        ("size: int = 1", "size: int = 2"),
        ("    def of", "    @staticmethod\n    def of"),
        ("if value else", "if not value else"),
    ],
)
def test_what_python_would_run_changes_it(before: str, after: str) -> None:
    assert before in CODE
    assert source_digest(CODE) != source_digest(CODE.replace(before, after))


@pytest.fixture
def package(tmp_path: Path, repository: Path) -> Path:
    compiled = shutil.ignore_patterns("__pycache__")  # where others write, and take away, at the same time
    return Path(shutil.copytree(repository / "dlm", tmp_path / "dlm", ignore=compiled))


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("data/mixtures.py", {"data", "responses", "scores"}),
        ("training/trainer.py", {"checkpoints"}),
        ("models/denoiser.py", {"checkpoints", "responses", "answers"}),
        ("sampling/sampler.py", {"responses", "answers"}),
        ("likelihood/maskings.py", {"responses", "answers"}),
        ("evaluation/metrics.py", {"responses", "scores"}),
        ("evaluation/lm.py", {"responses", "scores", "answers"}),
        ("evaluation/request.py", {"responses", "scores", "answers"}),
        ("settings/decoding.py", {"responses", "answers"}),
        ("settings/objective.py", {"checkpoints"}),
        ("data/prepare.py", {"data", "checkpoints", "responses", "scores"}),
        ("analysis/tables.py", {"tables"}),
        ("cli/verbs.py", set()),
        ("settings/sampler.py", set()),
        ("tracking/sync.py", set()),
        ("files.py", set()),
    ],
)
def test_a_change_reaches_the_steps_whose_results_it_can_change(package: Path, file: str, steps: set[str]) -> None:
    changed = package.with_name("changed")
    shutil.copytree(package, changed)
    with open(changed / file, "a") as stream:
        stream.write("\nADDED = 1\n")
    reached = {step for step in ROOMS if code_digest(step, changed) != code_digest(step, package)}
    assert reached == steps | ({"shards"} if "responses" in steps else set())  # parts of the same product


def test_a_task_definition_is_code(package: Path) -> None:
    before = code_digest("scores", package)
    changed = package.with_name("changed")
    shutil.copytree(package, changed)
    task = next((changed / "evaluation" / "tasks").glob("*.yaml"))
    task.write_text(task.read_text() + "# another\n")
    assert code_digest("scores", changed) != before


@pytest.mark.parametrize(
    ("step", "entries"),
    [
        ("data", ["dlm.data"]),
        ("checkpoints", ["dlm.training", "dlm.models"]),
        ("responses", ["dlm.evaluation"]),
        ("tables", ["dlm.analysis"]),
        ("figures", ["dlm.figures"]),
    ],
)
def test_whatever_a_step_imports_is_covered(step: str, entries: list[str]) -> None:
    graph = grimp.build_graph("dlm", cache_dir=None)
    known = {module for entry in entries for module in graph.find_upstream_modules(entry, as_package=True)}
    rooms = {module.split(".")[1] for module in known if "." in module}
    covered = {part.removesuffix(".py") for part in ROOMS[step]}
    assert rooms <= {*covered, "settings", "params", "errors", "files", "progress", "provenance", "signals"}


def test_what_answers_a_prompt_is_covered() -> None:
    graph = grimp.build_graph("dlm", cache_dir=None)
    known = {"dlm.evaluation.lm", "dlm.evaluation.autoregressive"}
    known |= {module for entry in known for module in graph.find_upstream_modules(entry)}
    files = {module.removeprefix("dlm.").replace(".", "/") + ".py" for module in known if "evaluation" in module}
    # A prompt, and how it was run, stand in the record itself; what was typed after --model_args becomes settings.
    recorded = {"evaluation/arguments.py", "evaluation/chat.py", "evaluation/execution.py", "settings/evaluation.py"}
    assert files - recorded <= set(ROOMS["answers"])
    rooms = {module.split(".")[1] for module in known if "." in module} - {"evaluation", "settings"}
    assert rooms <= {*ROOMS["answers"], "errors", "files", "ordering", "params", "progress", "provenance"}


def test_it_is_fast(package: Path) -> None:
    began = time.process_time()
    for step in ROOMS:
        code_digest(step, package)
    assert time.process_time() - began < 2  # processor seconds; a plan is to take seconds in all
