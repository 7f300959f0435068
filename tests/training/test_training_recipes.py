"""What a recipe can ask for besides objective and optimiser: each does what it says, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import small_architecture, small_denoiser, small_encoder, word_tokenizer
from test_training_run import CPU, ROWS, curve, recipe, run, start
from training_project import chats

from dlm.data import LazyRows
from dlm.diffusion import mdlm_loss
from dlm.errors import CheckpointError, DataError, DlmError, SettingsError, SetupError
from dlm.files import write_jsonl, write_manifest
from dlm.models import Denoiser, load_denoiser, make_denoiser, open_attention, storing
from dlm.settings import BD3LM, MDLM, Autoregressive, LoRA, Recipe
from dlm.training import adapters, train
from dlm.training.checks import check_fit
from dlm.training.curves import refuse_not_finite
from dlm.training.examples import Collator, encode_rows
from dlm.training.order import LengthGrouped
from dlm.training.packing import Packed
from dlm.training.streaming import StreamedExamples

ADAPTED = LoRA(rank=4, alpha=8)


def sft(**changes: Any) -> Recipe:
    return recipe(**{"loss_on": "response", "filler": "ignore", "max_length": 24, "steps": 8, **changes})


def train_chats(folder: Path, chosen: Recipe, denoiser: Denoiser | None = None, number: int = 40) -> None:
    train(
        "m", denoiser or start(), chats(number), chats(9), chosen, out=folder, seed=7, execution=CPU, made_from={}
    )  # fmt: skip


# Gradient checkpointing


def test_activations_computed_again_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = run(tmp_path / "a", recipe())
    entered: list[bool] = []
    forward = Denoiser.forward

    def watched(self: Denoiser, *arguments: Any, **more: Any) -> torch.Tensor:
        entered.append(self.model.is_gradient_checkpointing)
        return forward(self, *arguments, **more)

    monkeypatch.setattr(Denoiser, "forward", watched)
    again = run(tmp_path / "b", recipe(gradient_checkpointing=True))
    assert all(entered) and entered
    assert all(torch.equal(kept[name], again[name]) for name in kept)


# Adapters


def test_adapters_that_stay_apart_answer_as_merged_ones(tmp_path: Path) -> None:
    train_chats(tmp_path / "merged", sft(lora=ADAPTED))
    train_chats(tmp_path / "apart", sft(lora=dataclasses.replace(ADAPTED, merge=False)))
    merged, apart = load_denoiser(tmp_path / "merged"), load_denoiser(tmp_path / "apart")
    tokens = torch.arange(4, 20)[None]
    at = torch.ones_like(tokens, dtype=torch.bool)
    torch.testing.assert_close(apart.logits(tokens, None, at), merged.logits(tokens, None, at), rtol=1e-4, atol=1e-5)
    plain = type(apart.model).from_pretrained(tmp_path / "apart")
    assert torch.equal(plain.get_output_embeddings().weight, start().model.get_output_embeddings().weight)
    config = json.loads((tmp_path / "apart" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    files = json.loads((tmp_path / "apart" / "manifest.json").read_text())["files"]
    assert "adapter/adapter_model.safetensors" in files
    with pytest.raises(CheckpointError, match="its adapters are not merged"):
        train_chats(tmp_path / "more", sft(), apart)


def test_layers_that_the_network_has_not_are_named(tmp_path: Path) -> None:
    for targets in (("foo",), ("q_proj", "foo")):
        with pytest.raises(SettingsError, match=r"lora\.targets: the network has no layer named 'foo'; .*q_proj"):
            train_chats(tmp_path / "m", sft(lora=dataclasses.replace(ADAPTED, targets=targets)))
    with pytest.raises(SettingsError, match=r"lora: Target modules foo not found"):
        train_chats(tmp_path / "m", sft(lora=dataclasses.replace(ADAPTED, targets="foo")))


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_a_new_mask_embedding_is_trained_with_the_adapters(tmp_path: Path, merge: bool, tied: bool) -> None:
    def fresh() -> Denoiser:
        return make_denoiser(
            small_architecture(tie_embeddings=tied), word_tokenizer(), causal=False, shift=False, seed=0
        )

    before = fresh().model.get_input_embeddings().weight
    lora = dataclasses.replace(ADAPTED, train_mask_embedding=True, merge=merge)
    train_chats(tmp_path / "m", sft(lora=lora, steps=12), fresh())
    tokens = torch.full((1, 4), 1)
    embed = load_denoiser(tmp_path / "m").model.get_input_embeddings()
    moved = (embed(torch.arange(before.shape[0])) - before).abs().amax(1) > 0
    assert moved.nonzero().flatten().tolist() == tokens[0, :1].tolist()


# 4 bits


def test_four_bits_need_adapters_a_gpu_and_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="so it needs lora"):
        sft(four_bit=True)
    run(tmp_path / "m", recipe())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match="need a CUDA GPU"):
        load_denoiser(tmp_path / "m", four_bit=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="pip install bitsandbytes"):
        load_denoiser(tmp_path / "m", four_bit=True)


def test_adapters_trained_in_four_bits_are_put_onto_the_full_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU the 4 bits are left out: what is loaded for them here is the full model."""
    monkeypatch.setattr(storing, "four_bit_options", dict)
    run(tmp_path / "start", recipe())
    for name, four_bit in (("plain", False), ("four", True)):
        loaded = load_denoiser(tmp_path / "start", four_bit=four_bit)
        train_chats(tmp_path / name, sft(lora=ADAPTED, four_bit=four_bit), loaded)
    plain, four = (load_denoiser(tmp_path / name).model.state_dict() for name in ("plain", "four"))
    assert all(torch.equal(plain[name], four[name]) for name in plain)


# The order of the rows


def test_rows_of_similar_length_meet() -> None:
    lengths = [1 + (n * 37) % 101 for n in range(1003)]
    order = LengthGrouped(lengths, 10, seed=3)
    rows = list(order)
    assert sorted(rows) == list(range(1003)) and rows == list(order)
    spread = [
        max(lengths[row] for row in rows[begin : begin + 10]) - min(lengths[row] for row in rows[begin : begin + 10])
        for begin in range(0, 1000, 10)
    ]
    assert sum(spread) / len(spread) < 5
    order.set_epoch(1)
    assert list(order) != rows
    assert len(rows[1000:]) == 3, "the short batch comes last"


def test_grouped_training_has_less_filler_and_is_repeatable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled: dict[str, int] = {}

    def counted(name: str) -> None:
        call = Collator.__call__

        def watched(self: Collator, examples: Any) -> Any:
            batch = call(self, examples)
            filled[name] = filled.get(name, 0) + int((~batch["attention"]).sum())
            return batch

        monkeypatch.setattr(Collator, "__call__", watched)
        train_chats(tmp_path / name, sft(group_by_length=name != "plain", steps=20))
        monkeypatch.setattr(Collator, "__call__", call)

    for name in ("plain", "grouped", "again"):
        counted(name)
    assert filled["grouped"] < 0.6 * filled["plain"]
    assert (tmp_path / "grouped/curves.jsonl").read_bytes() == (tmp_path / "again/curves.jsonl").read_bytes()


# Packing


@pytest.mark.parametrize("shift", [False, True])
def test_packed_sequences_lose_as_unpacked_ones(shift: bool) -> None:
    denoiser = small_denoiser(shift=shift, sharpness=0.1)
    examples = encode_rows(chats(11), denoiser.tokenizer, sft(loss_on="all"))
    batch = Collator(0, train_filler=False)(examples)
    noise = {"settings": MDLM(), "mask_token_id": 1, "seed": 0, "streams_B": batch["rows"], "step": 0}
    inputs = (batch["tokens"], batch["labels"] != -100, batch["attention"])
    asked: list[torch.Size] = []

    def watched(tokens: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append(tokens.shape)
        return denoiser(tokens, *rest)

    unpacked = mdlm_loss(denoiser, *inputs, **noise)  # type: ignore[arg-type]
    packed = mdlm_loss(Packed(watched, 24, causal=False, shift=shift), *inputs, **noise)  # type: ignore[arg-type]
    torch.testing.assert_close(packed, unpacked, rtol=1e-5, atol=1e-5)
    assert asked[0][0] < 11 and asked[0][1] <= 24


def test_position_ids_alone_let_documents_read_each_other() -> None:
    """What the mask of pairs is for: without it the same packed rows give other losses."""
    denoiser = small_denoiser(sharpness=0.1)
    examples = encode_rows(chats(11), denoiser.tokenizer, sft(loss_on="all"))
    batch = Collator(0, train_filler=False)(examples)
    noise = {"settings": MDLM(), "mask_token_id": 1, "seed": 0, "streams_B": batch["rows"], "step": 0}
    inputs = (batch["tokens"], batch["labels"] != -100, batch["attention"])

    def leaky(tokens: torch.Tensor, mask: torch.Tensor, at: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return denoiser(tokens, None, at, positions)

    unpacked = mdlm_loss(denoiser, *inputs, **noise)  # type: ignore[arg-type]
    leaking = mdlm_loss(Packed(leaky, 24, causal=False, shift=False), *inputs, **noise)  # type: ignore[arg-type]
    assert (leaking - unpacked).abs().max() > 0.01


@pytest.mark.parametrize("model", ["mdlm", "ar", "shifted", "texts"])
def test_a_packed_training_is_the_unpacked_one(tmp_path: Path, model: str) -> None:
    def fresh() -> Denoiser:
        made = make_denoiser(
            small_architecture(), word_tokenizer(), causal=model in ("ar", "shifted"), shift=model != "mdlm", seed=0
        )
        return open_attention(made, shift=True) if model == "shifted" else made

    objective = Autoregressive() if model == "ar" else MDLM()
    chosen = sft(objective=objective, normalisation="sequence", max_length=24)
    if model == "texts":
        # Each text is an example of its own: no piece holds two.
        chosen = dataclasses.replace(chosen, loss_on="all", packing=True)
        texts = [{"id": n, "text": row["messages"][1]["content"]} for n, row in enumerate(chats(40))]
        assert all(0 not in example.tokens[:-1] for example in encode_rows(texts, word_tokenizer(), chosen))
        train("m", fresh(), texts, texts[:9], chosen, out=tmp_path / "m", seed=0, execution=CPU, made_from={})
        return
    train_chats(tmp_path / "plain", chosen, fresh())
    train_chats(tmp_path / "packed", dataclasses.replace(chosen, packing=True), fresh())
    for key in ("loss", "eval_loss"):
        assert curve(tmp_path / "packed", key) == pytest.approx(curve(tmp_path / "plain", key), rel=1e-4)


def test_packing_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="use filler: ignore, not eos"):
        sft(packing=True, filler="eos")
    with pytest.raises(SettingsError, match="cannot be combined with objective kind bd3lm"):
        sft(packing=True, objective=BD3LM(block_size=4))
    windowed = start()
    windowed.model.config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(CheckpointError, match="packing needs attention without windows"):
        train_chats(tmp_path / "m", sft(packing=True), windowed)


# Streaming


def lazy(folder: Path, *parts: list[dict[str, Any]]) -> LazyRows:
    folders = [folder / str(number) for number in range(len(parts))]
    for part, rows in zip(folders, parts, strict=True):
        write_jsonl(part / "train.jsonl", rows)
        write_manifest(part, kind="dataset", name=part.name, made_from={})
    return LazyRows(folders, "train")


@pytest.mark.parametrize("kind", ["chats", "texts", "packed texts"])
def test_streamed_examples_are_those_held_in_memory(tmp_path: Path, kind: str) -> None:
    texts = [{"id": n, "text": " ".join("abcdefgh"[(n + i) % 8] for i in range(n % 11))} for n in range(57)]
    rows = chats(57) if kind == "chats" else texts
    chosen = sft(loss_on="response" if kind == "chats" else "all", max_length=8, packing=kind == "packed texts")
    streamed = StreamedExamples(lazy(tmp_path, rows[:20], rows[20:]), word_tokenizer(), chosen)
    held = encode_rows(rows, word_tokenizer(), chosen)
    assert list(streamed) == held and streamed[-1] == held[-1] and streamed[2:5] == held[2:5]
    assert list(streamed.lengths) == [len(example.tokens) for example in held]


def test_a_streamed_training_is_the_one_from_memory(tmp_path: Path) -> None:
    chosen = sft(streaming=True, group_by_length=True)
    rows = lazy(tmp_path, chats(40))
    train("m", start(), rows, chats(9), chosen, out=tmp_path / "a", seed=7, execution=CPU, made_from={})
    train_chats(tmp_path / "b", sft(group_by_length=True))
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_a_streamed_row_that_is_damaged_is_named(tmp_path: Path) -> None:
    rows = lazy(tmp_path, chats(3), chats(3))
    assert len(rows) == 6 and rows[-1] == chats(3)[2] and rows[4]["id"] == 1
    path = tmp_path / "1" / "train.jsonl"
    damaged = path.read_bytes().replace(b'{"id": 1', b'{"id"; 1')
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"1/train.jsonl:2: damaged line"):
        rows[4]
    with pytest.raises(DataError, match="content differs"):
        LazyRows([tmp_path / "1"], "train")
    with pytest.raises(DataError, match="no such rows were prepared"):
        LazyRows([tmp_path / "0"], "test")


# Mistakes, one line each


def test_an_empty_data_set_is_named(tmp_path: Path) -> None:
    for changes in ({}, {"streaming": True}):
        with pytest.raises(DataError, match="no training rows: the data set has none; prepare"):
            train("m", start(), [], ROWS, recipe(**changes), out=tmp_path / "m", seed=0, execution=CPU, made_from={})
    with pytest.raises(DataError, match="no held-out rows: the data set has none; give it"):
        train("m", start(), ROWS, [], recipe(), out=tmp_path / "m", seed=0, execution=CPU, made_from={})


def test_rows_without_a_response_are_dropped_and_nothing_else_is_an_error(tmp_path: Path) -> None:
    denoiser = start()
    tokenizer = denoiser.tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}{% endif %}"
    )
    empty = {"id": 1, "messages": [{"role": "user", "content": "b c"}, {"role": "assistant", "content": ""}]}
    full = {"id": 2, "messages": [{"role": "user", "content": "b c"}, {"role": "assistant", "content": "a"}]}
    assert [example.tokens for example in encode_rows([empty, full], tokenizer, sft())] == [(5, 6, 4)]
    with pytest.raises(DataError, match=r"1 training rows, none with room for a response .* rows that have responses"):
        train("m", denoiser, [empty], [full], sft(), out=tmp_path / "m", seed=0, execution=CPU, made_from={})


def test_packing_restarts_positions_which_roberta_does_not_count_from_zero(tmp_path: Path) -> None:
    denoiser = start()
    denoiser.model.config.model_type = "roberta"
    with pytest.raises(CheckpointError, match="RoBERTa counts them from its padding id"):
        train_chats(tmp_path / "m", sft(packing=True), denoiser)


def test_sequences_longer_than_the_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="max_length 65 is longer than the model, which reads 64 tokens"):
        run(tmp_path / "m", recipe(max_length=65))


def test_the_positions_that_roberta_does_not_use_for_tokens_are_not_counted(tmp_path: Path) -> None:
    roberta = small_encoder("roberta")
    assert roberta.model.config.max_position_embeddings > 64
    check_fit(roberta, recipe(max_length=64))
    with pytest.raises(SettingsError, match="max_length 65 is longer than the model, which reads 64 tokens"):
        check_fit(roberta, recipe(max_length=65))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    larger = start()
    larger.tokenizer.add_tokens(["x1", "x2"])
    with pytest.raises(CheckpointError, match="has the token id 25, but the model embeds 24 tokens"):
        run(tmp_path / "m", recipe(), larger)


def test_a_loss_that_is_no_number_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DlmError, match=r"the loss is (nan|inf) at step"):
        run(tmp_path / "m", recipe(learning_rate=1e30, steps=12, warmup_ratio=0.0))


def test_a_state_of_no_numbers_is_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights may be lost in an update whose loss was still a number, long before a loss is told."""
    step = torch.optim.AdamW.step

    def broken(self: Any, *rest: Any, **more: Any) -> Any:
        done = step(self, *rest, **more)
        moments = next(iter(self.state.values()))
        if int(moments["step"]) == 3:
            self.param_groups[0]["params"][0].data.view(-1)[0] = float("nan")
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    with pytest.raises(DlmError, match="the weights are not finite at step 3; lower learning_rate"):
        run(tmp_path / "m", recipe(steps=200, checkpoint_seconds=0.0))
    assert [path.name for path in (tmp_path / ".m.work").iterdir()] == ["checkpoint-2"]
    with pytest.raises(DlmError, match="the loss is not finite at step 5"):
        refuse_not_finite(start(), 5, float("nan"))


def test_the_adapters_module_is_the_only_one_that_knows_peft() -> None:
    folder = Path(adapters.__file__).parent
    users = [path.name for path in folder.glob("*.py") if "from peft" in path.read_text()]
    assert users == ["adapters.py"]
