"""Published formats into the native one and back: the reference checkpoints, exact logits, exact bytes."""

from __future__ import annotations

import dataclasses
import filecmp
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from dlm.files import read_manifest, sha256_file
from dlm.models import Denoiser, convert_back, convert_checkpoint, load_denoiser

PARITY = Path(__file__).resolve().parents[1] / "parity"
IDS = json.loads((PARITY / "checkpoints" / "token_ids.json").read_text())
CASES = json.loads((PARITY / "forward" / "index.json").read_text())["cases"]
FORMATS = {"llada": "llada", "llada_gqa": "llada", "dream": "dream", "modernbert": "encoder", "bert": "encoder"}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case["checkpoint"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    case = request.param
    folder = tmp_path_factory.mktemp("converted") / case["checkpoint"]
    convert_checkpoint(PARITY / "checkpoints" / case["checkpoint"], folder)
    return case, folder


def inputs_of(case: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, torch.Tensor]]]:
    arrays = numpy.load(PARITY / case["file"])
    for entry in case["inputs"]:
        prefix = f"{entry['name']}."
        names = [name.removeprefix(prefix) for name in arrays.files if name.startswith(prefix)]
        yield entry, {name: torch.from_numpy(arrays[prefix + name]) for name in names}


def test_logits_are_the_references(converted: tuple[dict[str, Any], Path]) -> None:
    case, folder = converted
    loaded = load_denoiser(folder)
    unshifted = dataclasses.replace(loaded.conventions, shift=False)  # the reference's are the network's own
    denoiser = Denoiser(loaded.model, loaded.tokenizer, unshifted)
    compared = 0
    for entry, arrays in inputs_of(case):
        if entry["name"] == "causal_ar":
            continue
        tokens = arrays["input_ids"]
        attention = arrays["attention_mask"].bool() if entry["has_attention_mask"] else None
        at = torch.ones_like(tokens, dtype=torch.bool) if attention is None else attention
        positions = arrays["position_ids"] if entry["has_position_ids"] else None
        logits = denoiser.logits(tokens, attention, at, positions)
        torch.testing.assert_close(logits, arrays["logits"][at], rtol=0, atol=1e-3)
        compared += 1
    assert compared >= 2


def test_a_decoder_was_causal_before_and_is_not_after(converted: tuple[dict[str, Any], Path]) -> None:
    case, folder = converted
    causal = [arrays for entry, arrays in inputs_of(case) if entry["name"] == "causal_ar"]
    for arrays in causal:
        tokens = arrays["input_ids"]
        logits = load_denoiser(folder).logits(tokens, None, torch.ones_like(tokens, dtype=torch.bool))
        assert (logits.reshape(arrays["logits"].shape) - arrays["logits"]).abs().max() > 1


def test_conventions_and_tokens_are_recorded(converted: tuple[dict[str, Any], Path]) -> None:
    case, folder = converted
    name, denoiser = case["checkpoint"], load_denoiser(folder)
    conventions = denoiser.conventions
    assert conventions.mask_token_id == denoiser.tokenizer.mask_token_id == IDS[name]["mask"]
    assert denoiser.tokenizer.pad_token_id == IDS[name]["pad"]
    assert denoiser.model.config.vocab_size == IDS[name]["vocab"]  # there was a free row
    assert conventions.shift is (name == "dream")
    assert conventions.objective == ("mdlm" if name in ("llada", "llada_gqa", "dream") else "none")
    assert conventions.padding_side == ("left" if name in ("llada", "llada_gqa", "dream") else "right")
    assert conventions.source is not None
    assert conventions.source["format"] == FORMATS.get(name, "a2d")
    assert conventions.source["folder"] == name
    published = PARITY / "checkpoints" / name
    assert conventions.source["files"] == {path.name: sha256_file(path) for path in published.iterdir()}
    assert read_manifest(folder)["made_from"]["source"] == conventions.source


def test_a_chat_can_be_written(converted: tuple[dict[str, Any], Path]) -> None:
    _, folder = converted
    tokenizer = load_denoiser(folder).tokenizer
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    opening = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*chat, {"role": "assistant", "content": "a"}], tokenize=False)
    assert whole.startswith(opening) and "q" in opening and "a" in whole[len(opening) :]


def test_plain_transformers_loads_it(converted: tuple[dict[str, Any], Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    case, folder = converted
    loader = AutoModelForMaskedLM if "bert" in case["checkpoint"] else AutoModelForCausalLM
    model, report = loader.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    entry, arrays = next(inputs_of(case))
    assert entry["name"] == "full"
    with torch.inference_mode():
        logits = model(input_ids=arrays["input_ids"]).logits
    torch.testing.assert_close(logits, arrays["logits"], rtol=0, atol=1e-3)
    assert AutoTokenizer.from_pretrained(folder).mask_token_id == model.config.diffusion["mask_token_id"]


def test_nothing_in_it_asks_for_remote_code(converted: tuple[dict[str, Any], Path]) -> None:
    _, folder = converted
    assert not any("auto_map" in path.read_text() for path in folder.glob("*.json"))
    assert not list(folder.rglob("*.py"))


def test_converting_back_gives_every_file_again(converted: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    case, folder = converted
    published = PARITY / "checkpoints" / case["checkpoint"]
    files = convert_back(folder, tmp_path / "back")
    assert sorted(files) == sorted(path.name for path in published.iterdir())
    assert filecmp.cmpfiles(published, tmp_path / "back", files, shallow=False)[0] == files
