"""Trainings from start to checkpoint folder, on models that learn in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from doubles import small_architecture, word_tokenizer
from safetensors.torch import load_file
from training_project import chats

from dlm.errors import CheckpointError, DataError, DlmError, SettingsError
from dlm.models import Denoiser, load_denoiser, make_denoiser, save_denoiser
from dlm.params.layout import Layout
from dlm.settings import BD3LM, MDLM, Autoregressive, ExecutionSettings, LoRA, Recipe
from dlm.training import train
from dlm.training.run import count_steps
from dlm.training.starting import load_start
from dlm.training.trainer import DiffusionTrainer

CPU = ExecutionSettings(device="cpu")
ROWS = [{"id": n, "text": " ".join("abcdefgh"[(n + i) % 8] for i in range(7))} for n in range(64)]


def recipe(**changes: Any) -> Recipe:
    plain = {
        "objective": MDLM(), "loss_on": "all", "max_length": 8, "steps": 6, "batch_size": 4, "learning_rate": 5e-3,
        "evaluations": 2, "evaluation_rows": 8,
    }  # fmt: skip
    return Recipe(**{**plain, **changes})


def start(causal: bool = False) -> Denoiser:
    return make_denoiser(small_architecture(), word_tokenizer(), causal=causal, shift=causal, seed=0)


def run(
    folder: Path, chosen: Recipe, denoiser: Denoiser | None = None, rows: list[Any] = ROWS
) -> dict[str, torch.Tensor]:
    train("m", denoiser or start(), rows, ROWS[:16], chosen, out=folder, seed=7, execution=CPU, made_from={"seed": 7})
    return load_file(folder / "model.safetensors")


def curve(folder: Path, key: str) -> list[float]:
    records = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    return [record[key] for record in records if key in record]


OBJECTIVES = [
    MDLM(), MDLM(schedule="cosine"), MDLM(weight="uniform"), MDLM(weight="cart[geo_p:0.3]"), BD3LM(block_size=4),
    BD3LM(block_size=3, time="block"), Autoregressive(),
]  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_a_training_learns(tmp_path: Path, objective: Any) -> None:
    causal = isinstance(objective, Autoregressive)
    untrained, learned = recipe(objective=objective, steps=1, learning_rate=1e-9), recipe(objective=objective, steps=80)
    run(tmp_path / "before", untrained, start(causal))
    run(tmp_path / "m", learned, start(causal))
    before, after = (curve(tmp_path / name, "eval_loss")[-1] for name in ("before", "m"))
    assert after < 0.75 * before
    conventions = load_denoiser(tmp_path / "m").conventions
    assert (conventions.objective, conventions.block_size) == (objective.kind, getattr(objective, "block_size", None))


def test_the_same_training_gives_the_same_bits(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = run(tmp_path / "a", recipe())
    torch.manual_seed(2)
    second = run(tmp_path / "b", recipe())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert (tmp_path / "a" / "curves.jsonl").read_bytes() == (tmp_path / "b" / "curves.jsonl").read_bytes()


@pytest.mark.parametrize("normalisation", ["token", "sequence", "batch"])
def test_accumulated_micro_batches_are_the_whole_batch(tmp_path: Path, normalisation: str) -> None:
    whole = run(tmp_path / "a", recipe(normalisation=normalisation))
    parts = run(tmp_path / "b", recipe(normalisation=normalisation, micro_batch_size=2))
    for key in whole:
        torch.testing.assert_close(whole[key], parts[key], rtol=1e-4, atol=1e-5)


def test_adapters_are_merged_into_a_plain_checkpoint(tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in start().model.state_dict().items()}
    after = run(tmp_path / "m", recipe(lora=LoRA(rank=4, alpha=8), steps=12))
    assert set(after) == set(before)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and all("_proj" in key for key in changed)


def test_the_response_is_what_is_learned(tmp_path: Path) -> None:
    rows = [
        {"id": n, "messages": [{"role": "user", "content": "b c"}, {"role": "assistant", "content": "a d e"}]}
        for n in range(8)
    ]
    denoiser = start()
    train(
        "m",
        denoiser,
        rows,
        rows,
        recipe(loss_on="response", steps=40),
        out=tmp_path / "m",
        seed=0,
        execution=CPU,
        made_from={},
    )
    tokens = torch.tensor([[5, 6, 2, 4, 1, 1, 1]])
    scores = load_denoiser(tmp_path / "m").logits(tokens, None, tokens == 1).argmax(1)
    assert scores.tolist() == [7, 8, 2]


def test_the_prompt_is_never_masked_and_never_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": n, "messages": [{"role": "user", "content": "b c"}, {"role": "assistant", "content": "a d e"}]}
        for n in range(8)
    ]
    seen: list[torch.Tensor] = []
    forward = Denoiser.forward

    def watched(self: Denoiser, tokens: torch.Tensor, attention: Any, at: torch.Tensor, **more: Any) -> torch.Tensor:
        seen.append(at | (tokens == self.mask_token_id))
        return forward(self, tokens, attention, at, **more)

    monkeypatch.setattr(Denoiser, "forward", watched)
    chosen = recipe(loss_on="response", steps=6)
    train("m", start(), rows, rows, chosen, out=tmp_path / "m", seed=0, execution=CPU, made_from={})
    touched = torch.cat(seen)
    assert not touched[:, :4].any()
    assert touched[:, 4:].any()


def test_every_held_out_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    losses = DiffusionTrainer._loss_map

    def watched(self: Any, model: Any, inputs: Any, trainable: torch.Tensor) -> Any:
        if not model.training:
            counted.extend(inputs["rows"][trainable.any(1)].tolist())
        return losses(self, model, inputs, trainable)

    monkeypatch.setattr(DiffusionTrainer, "_loss_map", watched)
    run(tmp_path / "m", recipe(evaluations=1, evaluation_rows=7, micro_batch_size=1))
    assert counted == list(range(7))


def test_a_gpu_cannot_be_chosen_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Trainer would take the first instead."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second = ExecutionSettings(device="cuda:1")
    with pytest.raises(
        SettingsError, match=r"cannot choose 'cuda:1' by its number; use cuda, and name .* CUDA_VISIBLE_DE"
    ):
        train("m", start(), ROWS, ROWS, recipe(), out=tmp_path / "m", seed=7, execution=second, made_from={})


@pytest.mark.parametrize("normalisation", ["token", "sequence"])
def test_micro_batches_do_not_change_the_held_out_loss(tmp_path: Path, normalisation: str) -> None:
    """Of rows of uneven lengths, whose filler is trained: a batch decides how much of it there is."""
    seen = []
    for micro in (2, 8):
        chosen = recipe(
            loss_on="response", max_length=24, batch_size=8, steps=1, learning_rate=1e-9, evaluation_rows=13,
            normalisation=normalisation, micro_batch_size=micro,
        )  # fmt: skip
        out = tmp_path / str(micro)
        train("m", start(), chats(16), chats(13), chosen, out=out, seed=7, execution=CPU, made_from={})
        seen.append(curve(out, "eval_loss")[-1])
    assert seen[0] == pytest.approx(seen[1], rel=1e-5)


def test_the_manifest_says_what_made_it(tmp_path: Path) -> None:
    run(tmp_path / "m", recipe())
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    clock = manifest["made_from"].pop("clock")
    assert manifest["made_from"] == {"seed": 7, "steps": 6}
    assert len(clock["times"]) == len((tmp_path / "m" / "curves.jsonl").read_text().splitlines())
    assert [clock["began"], *clock["times"], clock["ended"]] == sorted(
        [clock["began"], *clock["times"], clock["ended"]]
    )
    assert {"model.safetensors", "config.json", "tokenizer.json", "curves.jsonl"} <= set(manifest["files"])
    assert not [path for path in tmp_path.iterdir() if path.name != "m"]


def test_a_failed_training_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    run(tmp_path / "m", recipe())
    before = (tmp_path / "m" / "manifest.json").read_bytes()
    broken = start()
    broken.model.get_output_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(DlmError, match="the loss is nan at step"):
        run(tmp_path / "m", recipe(), broken)
    assert (tmp_path / "m" / "manifest.json").read_bytes() == before


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 examples are fewer than batch_size 4"):
        run(tmp_path / "m", recipe(), rows=ROWS[:3])


def test_epochs_count_whole_batches() -> None:
    assert count_steps(recipe(steps=None, epochs=2), 11) == 4
    assert count_steps(recipe(steps=None, epochs=2, micro_batch_size=1), 11) == 6
    assert count_steps(recipe(steps=None, epochs=0.5), 16) == 2


@pytest.mark.parametrize(
    "objective", [MDLM(bos="prepend_when_shifted"), BD3LM(block_size=4, bos="prepend_when_shifted")]
)
def test_a_shifted_model_is_trained_after_a_beginning_token(tmp_path: Path, objective: Any) -> None:
    seen: list[list[int]] = []

    class Watched(Denoiser):
        def forward(self, tokens_BL: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
            seen.append(tokens_BL[:, 0].tolist())
            return super().forward(tokens_BL, *rest, **more)

    made = make_denoiser(small_architecture(), word_tokenizer(), causal=False, shift=True, seed=0)
    run(tmp_path / "m", recipe(objective=objective, steps=1), Watched(made.model, made.tokenizer, made.conventions))
    assert seen and {token for row in seen for token in row} == {made.tokenizer.bos_token_id}


def test_blocks_need_a_model_without_windows(tmp_path: Path) -> None:
    windowed = start()
    windowed.model.config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(CheckpointError, match="block diffusion needs attention without windows"):
        run(tmp_path / "m", recipe(objective=BD3LM(block_size=4)), windowed)


def test_a_beginning_token_must_exist(tmp_path: Path) -> None:
    shifted = make_denoiser(small_architecture(), word_tokenizer(), causal=False, shift=True, seed=0)
    shifted.tokenizer.bos_token = None
    with pytest.raises(SettingsError, match="needs a beginning-of-sequence token"):
        run(tmp_path / "m", recipe(objective=MDLM(bos="prepend_when_shifted")), shifted)


def test_a_start_that_is_not_there_or_holds_no_numbers_is_named(tmp_path: Path) -> None:
    plan: Any = SimpleNamespace(layout=Layout("tiny", tmp_path))
    folder = plan.layout.folder("checkpoints", "base")
    with pytest.raises(CheckpointError, match=r"checkpoints/base: not made yet; run the rule that makes it"):
        load_start(plan, "base", four_bit=False)
    broken = start()
    with torch.no_grad():
        broken.model.model.norm.weight[0] = float("nan")
    folder.mkdir(parents=True)
    save_denoiser(broken, folder, name="base", made_from={})
    with pytest.raises(CheckpointError, match=r"checkpoints/base: 'model\.norm\.weight' holds numbers that are not"):
        load_start(plan, "base", four_bit=False)
