"""A damaged, incomplete or contradictory source, and a wrong destination: one line that names it, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from doubles import small_denoiser
from published import copy_of, tensors_of, write_tensors

from dlm.errors import CheckpointError, DlmError, SettingsError, SetupError
from dlm.models import convert_back, convert_checkpoint, load_denoiser, load_tokenizer, save_denoiser

INDEX = "model.safetensors.index.json"
SECOND = "model-00002-of-00002.safetensors"


def write_index(folder: Path, **moved: str | None) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = {k: v for k, v in {**index["weight_map"], **moved}.items() if v is not None}
    (folder / INDEX).write_text(json.dumps(index))


def cut(folder: Path) -> None:
    (folder / SECOND).write_bytes((folder / SECOND).read_bytes()[:-1000])


def cut_head(folder: Path) -> None:
    (folder / SECOND).write_bytes((folder / SECOND).read_bytes()[:500])


def lengthen(folder: Path) -> None:
    (folder / SECOND).write_bytes((folder / SECOND).read_bytes() + b"more")


def garble(folder: Path) -> None:
    data = bytearray((folder / SECOND).read_bytes())
    data[8:16] = b"xxxxxxxx"
    (folder / SECOND).write_bytes(data)


def settings(folder: Path, file: str, **changes: object) -> None:
    (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **changes}))


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = tensors_of(folder)
    edit(tensors)
    write_tensors(folder, tensors)


NORM = "model.transformer.blocks.1.attn_norm.weight"
DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "config.json").unlink(), r"no config\.json in it"),
    (
        lambda folder: (folder / "config.json").write_text("{"),
        r"config\.json:1: not valid JSON \(.*\); fetch it again",
    ),
    (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json holds no settings"),
    (cut, rf"{SECOND}: \d+ bytes, its header says \d+ \(truncated\?\)"),
    (cut_head, rf"{SECOND}: 500 bytes, too short for its header"),
    (lengthen, rf"{SECOND}: \d+ bytes, its header says \d+"),
    (garble, rf"{SECOND}: not a legible safetensors header"),
    (lambda folder: (folder / SECOND).unlink(), rf"{SECOND}: listed in {INDEX} but missing"),
    (lambda folder: (folder / INDEX).write_text("{"), "not a legible index of weights"),
    (lambda folder: write_index(folder, **{NORM: SECOND, "x": SECOND}), r"is listed in .*, but lies in "),
    (lambda folder: write_index(folder, x="../x.safetensors"), "which is no file name"),
    (lambda folder: [path.unlink() for path in folder.glob("model*")], "no weights in it"),
    (
        lambda folder: [*(p.unlink() for p in folder.glob("model*")), (folder / "pytorch_model.bin").touch()],
        r"its weights are pytorch_model\.bin; only safetensors files are read",
    ),
    (lambda folder: change(folder, lambda found: found.pop(NORM)), r"nothing fills 'model\.layers\.1\.input_layernorm"),
    (
        lambda folder: change(folder, lambda found: found.update(extra=torch.ones(2))),
        "'extra' has no place in the class",
    ),
    (
        lambda folder: change(folder, lambda found: found.update({"lm_head.weight": torch.ones(320, 64)})),
        r"'lm_head\.weight' and '.*ff_out\.weight' both fill 'lm_head\.weight'|both fill 'lm_head\.weight'",
    ),
    (
        lambda folder: change(folder, lambda found: found.update({NORM: torch.ones(63)})),
        r"blocks\.1\.attn_norm\.weight' has the shape \[63\], but its config asks for \[64\]",
    ),
    (lambda folder: settings(folder, "config.json", n_layers=4), r"nothing fills .* \(and 1 more\)"),
    (lambda folder: settings(folder, "config.json", n_heads=5), "does not"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer in it"),
    (lambda folder: (folder / "tokenizer.json").write_text("{}"), "its tokenizer cannot be loaded"),
    (lambda folder: settings(folder, "config.json", mask_token_id=318), "mask_token_id 318 of its config is no token"),
    (lambda folder: settings(folder, "config.json", mask_token_id=291), "says mask_token_id 291, its tokenizer 292"),
    (
        lambda folder: [
            settings(folder, "config.json", embedding_size=294),
            change(folder, lambda found: found.update({k: v[:294] for k, v in found.items() if len(v) == 320})),
        ],
        "gives ids up to 295, but the model has 294 rows",
    ),
    (
        lambda folder: [
            settings(folder, "config.json", mask_token_id=None),
            settings(folder, "tokenizer_config.json", mask_token=None),
            settings(folder, "special_tokens_map.json", mask_token=None),
        ],
        r"neither its config \(mask_token_id\) nor its tokenizer .* names the mask token that it was trained with",
    ),
    (
        lambda folder: (folder / "adapter").mkdir(),
        "adapter: adapters beside the weights, which a conversion would leave",
    ),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_source_is_named(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    source = copy_of("llada_gqa", tmp_path / "source")
    damage(source)
    with pytest.raises(CheckpointError, match=message) as caught:
        convert_checkpoint(source, tmp_path / "dest")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(source))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_there_has_to_be_a_source(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        convert_checkpoint(tmp_path / "source", tmp_path / "dest")


@pytest.mark.parametrize("dest", ["source", "source/inside", "other", "file", "."])
def test_a_destination_whose_content_would_be_lost_is_refused(dest: str, tmp_path: Path) -> None:
    source = copy_of("llada", tmp_path / "source")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more")
    with pytest.raises(SettingsError, match="choose another folder"):
        convert_checkpoint(source, tmp_path / dest)
    assert (tmp_path / "other" / "thesis.txt").exists() and (tmp_path / "file").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other", "source"]


def test_a_checkpoint_of_this_project_is_replaced(tmp_path: Path) -> None:
    convert_checkpoint(copy_of("llada", tmp_path / "llada"), tmp_path / "dest")
    convert_checkpoint(copy_of("dream", tmp_path / "dream"), tmp_path / "dest")
    assert load_denoiser(tmp_path / "dest").model.config.model_type == "qwen2"


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert_checkpoint(copy_of("llada", tmp_path / "llada"), tmp_path / "dest")
    before = load_denoiser(tmp_path / "dest").digest

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "dest"))

    monkeypatch.setattr("dlm.models.converting.write_shard", full)
    with pytest.raises(SetupError, match=r"dest: cannot be read or written \(No space left on device\)"):
        convert_checkpoint(copy_of("dream", tmp_path / "dream"), tmp_path / "dest")
    assert load_denoiser(tmp_path / "dest").digest == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dest", "dream", "llada"]


def test_a_disk_that_is_too_small_is_named_before_anything_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    with pytest.raises(SetupError, match=r"dest: needs 0\.0 GB, but the disk has 0\.0 GB left"):
        convert_checkpoint(copy_of("llada", tmp_path / "llada"), tmp_path / "dest")


def test_a_folder_of_its_own_is_replaced_whatever_is_left_in_it(tmp_path: Path) -> None:
    """Snakemake removes the manifest, the job's declared output, before it runs a job again."""
    source, dest = copy_of("llada", tmp_path / "llada"), tmp_path / "dest"
    first = convert_checkpoint(source, dest)
    (dest / "manifest.json").unlink()
    with pytest.raises(SettingsError, match="is not empty"):
        convert_checkpoint(source, dest)
    assert convert_checkpoint(source, dest, own=True)["digest"] == first["digest"]


def test_a_trained_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    source, dest = copy_of("llada", tmp_path / "llada"), tmp_path / "dest"
    save_denoiser(small_denoiser(), dest, name="trained", made_from={"recipe": {}, "source": "digest"})
    with pytest.raises(SettingsError, match="is not empty, and what it holds would be lost"):
        convert_checkpoint(source, dest)


def test_only_what_was_converted_can_be_converted_back(tmp_path: Path) -> None:
    source = copy_of("llada", tmp_path / "llada")
    convert_checkpoint(source, tmp_path / "dest")
    with pytest.raises(CheckpointError, match=r"no source/keys\.json in it"):
        convert_back(source, tmp_path / "back")
    with pytest.raises(SettingsError, match="is not empty"):
        convert_back(tmp_path / "dest", source)
    weights = tmp_path / "dest" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(CheckpointError, match="content differs"):
        convert_back(tmp_path / "dest", tmp_path / "back")
    assert not (tmp_path / "back").exists()


CONVENTIONS: list[tuple[object, str]] = [
    ("x", r"diffusion: must be the conventions of a checkpoint"),
    ({}, r"diffusion\.mask_token_id: is missing"),
    ({"mask_token_id": 4, "shift": False}, r"diffusion\.objective: is missing"),
    ({"mask_token_id": "4"}, r"diffusion\.mask_token_id: must be a token's id or null, got \"4\""),
    ({"shift": "maybe"}, r"diffusion\.shift: must be true or false, got \"maybe\""),
    ({"objective": "foo"}, r"diffusion\.objective: must be one of mdlm, bd3lm, mlm, ar, none, got \"foo\""),
    ({"padding_side": "top"}, r"diffusion\.padding_side: must be left or right"),
    ({"block_size": 0}, r"diffusion\.block_size: must be a whole number from 1, or null, got 0"),
    ({"mask_token_id": None, "shift": False, "objective": "mdlm"}, r"diffusion\.mask_token_id: is null, though"),
    ({"block_sizes": 4}, r"diffusion\.block_sizes: unknown key; did you mean 'block_size'"),
]


@pytest.mark.parametrize(("stored", "message"), CONVENTIONS, ids=range(len(CONVENTIONS)))
def test_conventions_that_do_not_hold_are_named_by_whoever_reads_them(
    stored: object, message: str, tmp_path: Path
) -> None:
    convert_checkpoint(copy_of("llada", tmp_path / "llada"), tmp_path / "edited")
    settings(tmp_path / "edited", "config.json", diffusion=stored)
    with pytest.raises(CheckpointError, match=message):
        load_denoiser(tmp_path / "edited", verify=False)
    (tmp_path / "edited" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(tmp_path / "edited", tmp_path / "again")


def test_a_file_of_ones_own_beside_a_checkpoint_is_not_lost(tmp_path: Path) -> None:
    source = copy_of("llada", tmp_path / "llada")
    convert_checkpoint(source, tmp_path / "dest")
    (tmp_path / "dest" / "runs").mkdir()
    (tmp_path / "dest" / "runs" / "log").write_text("hours of work")
    with pytest.raises(SettingsError, match=r"dest/runs/log: would be lost with the checkpoint beside it; move it"):
        convert_checkpoint(source, tmp_path / "dest")
    assert (tmp_path / "dest" / "runs" / "log").exists()


def test_a_block_size_belongs_to_block_diffusion(tmp_path: Path) -> None:
    source = copy_of("llada", tmp_path / "llada")
    with pytest.raises(CheckpointError, match="objective bd3lm needs a block size"):
        convert_checkpoint(source, tmp_path / "dest", objective="bd3lm")
    with pytest.raises(CheckpointError, match="a block size belongs to objective bd3lm, not to mdlm"):
        convert_checkpoint(source, tmp_path / "dest", block_size=8)
    assert not (tmp_path / "dest").exists()


def test_a_mask_is_added_to_what_is_said_to_be_trained_without_one(tmp_path: Path) -> None:
    source = copy_of("llama", tmp_path / "llama")
    with pytest.raises(CheckpointError, match="names the mask token that it was trained with"):
        convert_checkpoint(source, tmp_path / "dest", objective="mdlm")
    convert_checkpoint(source, tmp_path / "dest", objective="none")
    assert load_denoiser(tmp_path / "dest").tokenizer.mask_token == "<|mask|>"


def test_a_block_size_goes_with_block_diffusion(tmp_path: Path) -> None:
    convert_checkpoint(copy_of("llada", tmp_path / "llada"), tmp_path / "one", objective="bd3lm", block_size=8)
    assert load_denoiser(tmp_path / "one").conventions.block_size == 8
    convert_checkpoint(tmp_path / "one", tmp_path / "other", objective="mdlm")
    assert load_denoiser(tmp_path / "other").conventions.block_size is None


def test_an_encoder_takes_the_mask_that_its_config_names(tmp_path: Path) -> None:
    source = copy_of("bert", tmp_path / "bert")
    mask = load_tokenizer(source).mask_token_id
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        settings(source, file, mask_token=None)
    with pytest.raises(CheckpointError, match="names the mask token that it was trained with"):
        convert_checkpoint(source, tmp_path / "dest")
    settings(source, "config.json", mask_token_id=mask)
    convert_checkpoint(source, tmp_path / "dest")
    assert load_denoiser(tmp_path / "dest").mask_token_id == mask


def test_ends_of_text_beyond_the_vocabulary_are_the_tokenizers(tmp_path: Path) -> None:
    source = copy_of("llama", tmp_path / "llama")
    settings(source, "config.json", bos_token_id=50256, eos_token_id=50256)
    convert_checkpoint(source, tmp_path / "dest")
    denoiser = load_denoiser(tmp_path / "dest")
    assert denoiser.model.config.eos_token_id == denoiser.tokenizer.eos_token_id < denoiser.vocab_size


def test_a_source_of_this_project_is_checked_first(tmp_path: Path) -> None:
    convert_checkpoint(copy_of("llada", tmp_path / "llada"), tmp_path / "first")
    settings(tmp_path / "first", "config.json", hidden_size=32)
    with pytest.raises(DlmError, match=r"config\.json: \d+ bytes, the manifest says|content differs"):
        convert_checkpoint(tmp_path / "first", tmp_path / "second")
