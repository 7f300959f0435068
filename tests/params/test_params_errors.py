"""Bad params: one line that names file, line, key and remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dlm.errors import SettingsError
from dlm.params import load_params, scales


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Path:
    shutil.copytree(repository / "params", tmp_path / "params")
    return tmp_path


def edit(project: Path, old: str, new: str, scale: str = "tiny") -> int:
    """Replace the first ``old`` in a params file; return the line it stood on."""
    path = project / "params" / f"{scale}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def refusal(project: Path, scale: str = "tiny") -> str:
    with pytest.raises(SettingsError) as caught:
        load_params(scale, project)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("scale", ["tiny", "micro", "paper"])
def test_shipped_params_load(repository: Path, scale: str) -> None:
    assert load_params(scale, repository).tables


def test_every_params_file_is_covered_above(repository: Path) -> None:
    assert scales(repository / "params") == ["micro", "paper", "tiny"]


def test_unknown_key_names_the_nearest_and_the_line(project: Path) -> None:
    line = edit(project, "learning_rate: 3.0e-3", "learning_rte: 3.0e-3")
    assert (
        f"tiny.yaml:{line}: recipes.pretrain_mdlm.learning_rte: unknown key; did you mean 'learning_rate'?"
        in refusal(project)
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "published: paper_table1_s1k",
            "published: paper_table1_s1K",
            "tables.table1.published: no table of the published figures is named 'paper_table1_s1K'; did you mean",
        ),
        (
            "published: LLaDA-8B-Base}",
            "published: LLaDA-8B-Bass}",
            "rows[2].published: no model of 'paper_table1_s1k' is named 'LLaDA-8B-Bass'; did you mean 'LLaDA-8B-Base'?",
        ),
        (
            "published_metric: accuracy_len128",
            "published_metric: accuracy_len12",
            "no metric of 'd1_baseline_released_generations' is named 'accuracy_len12'; did you mean 'accuracy_",
        ),
        (
            "published_in: d1_best_length",
            "published_source: dlm\n        published_in: d1_best_length",
            "published_source: no source of 'd1_best_length' is named 'dlm'",
        ),
        (
            "rows: [LLaDA-8B-Instruct (256)]",
            "rows: [LLaDA-8B-Instruct (255)]",
            "rows[0]: no row of this table is named 'LLaDA-8B-Instruct (255)'; did you mean",
        ),
    ],
)
def test_what_nothing_is_published_under(project: Path, repository: Path, old: str, new: str, message: str) -> None:
    shutil.copytree(repository / "data" / "published", project / "data" / "published")
    line = edit(project, old, new, "paper/finetuning")
    assert f"finetuning.yaml:{line}: " in (told := refusal(project, "paper")) and message in told


def test_a_benchmark_that_is_not_published(project: Path, repository: Path) -> None:
    shutil.copytree(repository / "data" / "published", project / "data" / "published")
    line = edit(project, "benchmark: ", "benchmark: No", "paper/finetuning")
    told = refusal(project, "paper")
    assert f"finetuning.yaml:{line}: " in told and ".benchmark: no benchmark of '" in told


def test_a_copy_of_a_test_set_that_is_not_there(project: Path) -> None:
    line = edit(project, "    kind: file\n", "    kind: file\n    path: copies/none.jsonl\n", "paper/finetuning") + 1
    told = refusal(project, "paper")
    assert (
        f"finetuning.yaml:{line}: " in told
        and "path: no such file: copies/none.jsonl; correct it, or remove it" in told
    )


def test_unknown_key_at_the_top(project: Path) -> None:
    edit(project, "seed: 0", "sede: 0")
    assert "tiny.yaml:4: sede: unknown key; did you mean 'seed'?" in refusal(project)


def test_broken_yaml_names_the_line(project: Path) -> None:
    line = edit(project, "seed: 0", "seed: [0")
    message = refusal(project)
    assert "broken YAML" in message
    assert any(f"tiny.yaml:{line + offset}:" in message for offset in (0, 1, 2))


def test_key_written_twice(project: Path) -> None:
    edit(project, "seed: 0", "seed: 0\nseed: 1")
    assert "seed: this key is written twice" in refusal(project)


def test_unknown_scale_lists_the_scales(project: Path) -> None:
    assert "unknown scale 'huge': known: micro, paper, tiny" in refusal(project, "huge")
    assert "did you mean 'tiny'?" in refusal(project, "tiney")


@pytest.mark.parametrize("scale", ["../params/tiny", "", "params/tiny"])
def test_scale_is_a_name_not_a_path(project: Path, scale: str) -> None:
    assert "unknown scale" in refusal(project, scale)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seed: 0", "seed: many", "seed: expected a whole number, got 'many'"),
        ("seed: 0", "seed: true", "seed: expected a whole number, got true"),
        ("seed: 0", "seed:", "seed: expected a whole number, got nothing"),
        (
            "seed: 0",
            "seed: 4294967296",
            "seed: 4294967296 is beyond every range; the largest whole number is 4294967295",
        ),
        ("hidden_size: 96", "hidden_size: 99999999999996", "hidden_size: 99999999999996 is beyond every range"),
        ("seed: 0", 'seed: "' + "9" * 500 + '"', "got '99999"),
        ("seed: 0", "seed:\t0\n\tx: 1", "broken YAML: found character '\\t' that cannot start any token"),
        ("seed: 0", "seed: \x07", "broken YAML: a character that no text has, 0x0007"),
        ("seed: 0", "seed: 🙂", "seed: expected a whole number, got '🙂'"),
        ("seed: 0", "sëed: 0", "sëed: unknown key; did you mean 'seed'?"),
        ("seed: 0", "extend: micro", "extend: unknown key; did you mean 'extends'?"),
        ("seed: 0", '"a\\nb": 0', "a b: unknown key"),
        ("seed: 0", "seed: &a [*a]", "seed[0][0][0]: grows without end; a '*name' stands inside its own '&name'"),
        ("seed: 0", "seed: " + "[" * 3000 + "]" * 3000, "broken YAML: too deep a nesting"),
        ("seed: 0", "extends: tiny", "extends: circular (tiny -> tiny); remove one of them"),
        ("seed: 0", "extends: mikro", "extends: unknown scale 'mikro'; did you mean 'micro'?"),
        ("seed: 0", "extends: ../params/micro", "extends: unknown scale '../params/micro'; known: micro, paper,"),
        ("seed: 0", "extends: [{a: micro}]", "extends: expected the name of a scale, got {'a': 'micro'}"),
        ("seed: 0", "extends: [paper/sizes, mikro]", "extends: unknown scale 'mikro'; did you mean 'micro'?"),
        ("  mc8: {samples: 8}", "  mc8: [8]", "likelihoods.mc8: expected a mapping (LikelihoodSettings), got [8]"),
        ("  mc8: {samples: 8}", "  mc8:", "likelihoods.mc8: expected a mapping (LikelihoodSettings), got nothing"),
        ("  table1:", "  ../../table1:", "tables.../../table1: not a name; begin with a letter or a digit"),
        ("  table1:", "  my table:", "tables.my table: not a name"),
        ("  table1:", "  '':", "not a name"),
        ("sudoku, number_choice]", "sudoku, sudoku]", "tables.table1.tasks: tasks names 'sudoku' 2 times; keep one"),
        ("seed: 0", "seed: 1.5", "seed: expected a whole number, got 1.5"),
        ("batch_size: 32", "batch_size: -1", "execution.batch_size: batch_size must be at least 1, got -1"),
        ("threads: 1", "threads: 0", "execution.threads: threads must be from 1 to 256, got 0"),
        ("dtype: float32", "dtype: float99", "execution.dtype: unknown 'float99'; did you mean 'float32'?"),
        ("3.0e-3", ".inf", "learning_rate: expected a number, got inf"),
        ("kind: mdlm", "kind: mdml", "objective.kind: unknown 'mdml'; did you mean 'mdlm'?"),
        ("block_size: 48", "block_size: 3", "steps 24 is not a multiple of the 16 blocks"),
        ("steps: 24}", "steps: 128}", "steps 128 exceeds max_new_tokens 48"),
        ("block_size: 48", "block_size: 36", "block_size 36 does not divide max_new_tokens 48"),
        ("max_new_tokens: 48, block_size: 48", "max_new_tokens: 128, block_size: 128", "leaves no room for a prompt"),
        ("tasks: [word_problems, countdown", "tasks: [wordproblems, countdown", "no task is named 'wordproblems'"),
        ("{model: llada-instruct, ", "{model: lama-instruct, ", "did you mean 'llada-instruct'?"),
        ("recipe: pretrain_mdlm", "recipe: pretrain", "no recipe is named 'pretrain'"),
        ("start: dream-opened", "start: dream-base", "circular"),
        ("max_length: 96", "max_length: 960", "exceeds the 128 positions"),
        ("heads: 4", "heads: 5", "heads 5 does not divide hidden_size 96"),
        ("rows: {word_problems: ", "rows: {word_problem: ", "did you mean 'word_problems'?"),
        ("mc8: {", "mc8: {smaples: 3, ", "likelihoods.mc8.smaples: unknown key; did you mean 'samples'?"),
        ('operators: "+-"', 'operators: "+^"', "operators must be some of '+-*/', got '+^'"),
        ("seed: 0", "seed: -1", "seed must be at least 0, got -1"),
        ("device: cpu", "device: mps", "device must be auto, cpu, cuda or cuda:<number>, got 'mps'"),
        ("device: cpu", "device: tpu", "device must be auto, cpu, cuda or cuda:<number>, got 'tpu'"),
        ("seed: 0", "seed: 2024-13-45", "cannot be read as YAML"),
        ("seed: 0", "seed: !foo 0", "cannot be read as YAML"),
        ("<<: *pretrain", "<<: hello", "'<<' must name a mapping"),
        ("kind: mdlm", "kind: [mdlm]", "objective.kind: unknown '['mdlm']'"),
        ("recipe: pretrain_ar", "recipe: pretrain_mdlm", "the network's attention is causal"),
        ("start: dream-opened", "start: dream-parent", "the network's attention is causal"),
        ("recipe: pretrain_mdlm", "recipe: pretrain_ar", "the network's attention is bidirectional"),
        ("{model: dream-base, ", "{samplers: {sudoku: own2}, model: dream-base, ", "no sampler is named 'own2'"),
        ("{model: dream-base, ", "{likelihood: mc9, model: dream-base, ", "likelihood: no likelihood is named 'mc9'"),
        (
            "{model: dream-base, ",
            "{likelihoods: {sudoku: mc8}, model: dream-base, ",
            "of output 'generate': no likelihood",
        ),
        ("{model: dream-base, ", "{likelihood: mc8, model: dream-parent, ", "gives exact likelihoods"),
        ("    likelihood: mc8\n", "", "missing key 'likelihood'; a task whose output is 'likelihood' needs one"),
        ("{model: dream-base, ", "{samplers: {sudoko: own}, model: dream-base, ", "did you mean 'sudoku'"),
        (
            "{model: dream-base, ",
            "{samplers: {number_choice: own}, model: dream-base, ",
            "of output 'likelihood': no sampler applies",
        ),
        ("{model: dream-base, ", "{samplers: {sudoku: own}, model: dream-parent, ", "answers greedily"),
        ("model_type: llama", "model_type: gpt2", "rope_theta does not apply to gpt2"),
        ("model_type: qwen2, kv_heads: 2", "model_type: modernbert", "is an encoder"),
        ("adam_beta2: 0.98", "adam_beta2: 1.5", "adam_beta2 must be from 0 to 1"),
        ("tasks: [word_problems, countdown, sudoku, number_choice]", "tasks: []", "tasks is empty"),
        ("output: likelihood", "output: likelihood\n    sampler: answer48", "does not apply to a likelihood task"),
        ("dlm_countdown", "dlm_countdwn", "no task of the project's own is named 'dlm_countdwn'; did you mean 'dlm_"),
        (
            "dlm_countdown",
            "dml_countdown",
            "not of kind 'benchmark', which alone 'dml_countdown' reads; correct it, or `lm_eval`: did you mean 'dlm_",
        ),
        ("cell_accuracy", "cell_acuracy", "metric: no metric of 'dlm_sudoku' is named 'cell_acuracy'; did you mean"),
        ("metric: acc", "metric: acc\n    filter: strict", "no filter of 'dlm_number_choice' is named 'strict'; known"),
        ("dlm_word_problems", "dlm_number_choice", "output: 'dlm_number_choice' is of output 'likelihood'; write that"),
        ("word_perplexity", "word_perplexity\n    chance: 0.1", "chance does not apply to metric 'word_perplexity'"),
        (
            "dataset: corpus\n\ntables:",
            "dataset: instruct\n\ntables:",
            "'instruct' is no training set of plain",
        ),
        ("dataset: corpus\n\ntables:", "dataset: sudoku\n\ntables:", "dataset: 'sudoku' is no training set of plain"),
        ("output: likelihood", "output: likelihood\n    seeds: 0", "seeds must be from 1 to 100, got 0"),
    ],
)
def test_refusals(project: Path, old: str, new: str, expected: str) -> None:
    edit(project, old, new)
    message = refusal(project)
    assert expected in message
    assert "tiny.yaml:" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "tasks: [mbpp]}",
            "tasks: [mbbp]}",
            "differs[0].tasks[0]: no task of this table is named 'mbbp'",
        ),
        (
            "models: [llada-instruct-sft",
            "models: [lada-instruct-sft",
            "differs[1].models[0]: no model of this table",
        ),
        ('"500 problems, published 257"', '""', "differs[0].setting: setting must be one line of 1 to 80 characters"),
        ('"500 problems, published 257"', '"500; not 257"', "differs[0].setting: setting must be one line"),
        ("    published: paper_table1_s1k\n", "", "differs: differs asks for published figures"),
    ],
)
def test_refusals_of_differences(project: Path, old: str, new: str, expected: str) -> None:
    edit(project, old, new, "paper/finetuning")
    message = refusal(project, "paper")
    assert expected in message
    assert "finetuning.yaml:" in message


def test_missing_key(project: Path) -> None:
    edit(project, "    recipe: pretrain_mdlm\n", "")
    assert "checkpoints.llada-base: missing key 'recipe'" in refusal(project)


def test_steps_and_epochs_exclude_each_other(project: Path) -> None:
    edit(project, "    loss_on: all\n", "    loss_on: all\n    epochs: 3\n")
    assert "give either steps or epochs" in refusal(project)


def test_a_limit_of_the_scale_is_one_of_every_task(project: Path) -> None:
    mine = project / "params" / "mine.yaml"
    mine.write_text("extends: [tiny]\nlimit: 20\ntasks: {sudoku: {limit: 5}}\n")
    limits = {name: task.limit for name, task in load_params("mine", project).tasks.items()}
    assert limits.pop("sudoku") == 5 and set(limits.values()) == {20}
    mine.write_text("extends: tiny\nlimit: 0\n")
    assert "mine.yaml:2: limit: limit must be at least 1, got 0" in refusal(project, "mine")


def test_extended_scale_blames_the_file_that_wrote_the_key(project: Path) -> None:
    edit(project, "mc8: {samples: 4}", "mc8: {samples: 0}", "micro")
    assert "micro.yaml" in refusal(project, "micro")
    edit(project, "mc8: {samples: 0}", "mc8: {}", "micro")
    edit(project, "mc8: {samples: ", "mc8: {samples: none")
    assert "tiny.yaml" in refusal(project, "micro")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "recipe: s1k_sft, dataset: s1k}",
            "recipe: s1k_sft, dataset: [s1k, s2k]}",
            "checkpoints.llada-base-sft.dataset: no data is named 's2k'; did you mean 's1k'?",
        ),
        (
            "recipe: s1k_sft, dataset: s1k}",
            "recipe: s1k_sft, dataset: [s1k, s1k]}",
            "checkpoints.llada-base-sft.dataset: dataset names 's1k' 2 times; keep one",
        ),
        (
            "recipe: s1k_sft, dataset: s1k}",
            "recipe: s1k_sft, dataset: []}",
            "checkpoints.llada-base-sft.dataset: dataset is empty; name at least one data set",
        ),
        (
            "recipe: s1k_sft, dataset: s1k}",
            "recipe: s1k_sft, dataset: [s1k, dclm]}",
            "checkpoints.llada-base-sft.dataset: dclm: plain text, s1k: chats; a training joins one kind only",
        ),
        (
            "recipe: s1k_sft, dataset: s1k}",
            "recipe: s1k_sft, dataset: [s1k, countdown]}",
            "checkpoints.llada-base-sft.dataset: 'countdown' is not a training set",
        ),
        (
            "tokenizer: llada-base",
            "tokenizer: lada-base",
            "checkpoints.llada-scratch.start.tokenizer: no data or checkpoint is named 'lada-base'; did you mean",
        ),
        (
            "tokenizer: llada-base",
            "tokenizer: llada-scratch",
            "'llada-scratch' has no tokenizer to begin with; name a prepared tokenizer or a checkpoint from elsewhere",
        ),
        ("format: messages", "format: mesages", "data.tulu3.format: unknown 'mesages'; did you mean 'messages'?"),
        ("streaming: true\n    rows: 1500000", "streaming: true", "data.openwebtext.streaming: streaming reads on for"),
        ("\ndata:\n", "\nextends: paper/size\ndata:\n", "extends: unknown scale 'paper/size'; did you mean"),
        ("\ndata:\n", "\nextends: paper\ndata:\n", "extends: circular (paper -> paper/training -> paper); remove one"),
    ],
)
def test_what_is_wrong_in_a_part_is_named_there(project: Path, old: str, new: str, message: str) -> None:
    line = edit(project, old, new, "paper/training")
    text = refusal(project, "paper")
    assert message in text
    assert any(f"paper/training.yaml:{line + offset}:" in text for offset in range(-1, 2)) or "tokenizer" in text


def test_a_loss_on_responses_needs_chats(project: Path) -> None:
    edit(project, "recipe: s1k_sft, dataset: s1k}", "recipe: s1k_sft, dataset: dclm}", "paper/training")
    problem = (
        "recipes.s1k_sft.loss_on: 'response' needs chats, but checkpoint 'llada-base-sft' is trained on plain text"
    )
    assert problem in refusal(project, "paper")


def test_a_part_is_no_scale(project: Path) -> None:
    assert "unknown scale 'paper/training'" in refusal(project, "paper/training")


def test_circular_extends(project: Path) -> None:
    edit(project, "extends: tiny", "extends: micro", "micro")
    assert "extends: circular (micro -> micro)" in refusal(project, "micro")


def test_not_utf8(project: Path) -> None:
    (project / "params" / "tiny.yaml").write_bytes(b"seed: \xff\xfe\n")
    assert "tiny.yaml:1: not UTF-8 text; save it as UTF-8" in refusal(project)


@pytest.mark.parametrize(
    ("content", "found"),
    [("", "nothing"), ("# a note\n", "nothing"), ("- a\n", "something else"), ("tiny\n", "something")],
)
def test_a_file_that_is_no_mapping(project: Path, content: str, found: str) -> None:
    (project / "params" / "tiny.yaml").write_text(content)
    assert f"tiny.yaml:1: expected a mapping of settings, found {found}" in refusal(project)


def test_a_table_without_rows(project: Path) -> None:
    path = project / "params" / "tiny.yaml"
    text = path.read_text()
    path.write_text(text[: text.index("    rows:\n      - {model")] + "    rows: []\n")
    assert "tables.table1.rows: rows is empty; give at least one model" in refusal(project)


def test_a_folder_is_no_params_file(project: Path) -> None:
    (project / "params" / "tiny.yaml").unlink()
    (project / "params" / "tiny.yaml").mkdir()
    assert "unknown scale 'tiny': known: micro, paper (" in refusal(project)
    assert "extends: unknown scale 'tiny'; known: micro, paper" in refusal(project, "micro")


def test_a_file_that_may_not_be_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert "tiny.yaml: cannot be read (Permission denied); make it readable" in refusal(project)
