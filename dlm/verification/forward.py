"""Cases of kind ``forward``: the logits of a converted checkpoint."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlm.verification.cases import Case
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import Malformed, flag, items, one_of, read_fields, text
from dlm.verification.sources import source

TOLERANCE = 1e-3
"""Largest difference between two logits that agree."""
UNCONVERTED = "causal_ar"
"""Name of the input that goes through the checkpoint as it was published."""


def check(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    """Yield what differs between a case and this implementation."""
    entry = {"name": text, "has_attention_mask": flag, "has_position_ids": flag}
    readers = {
        "id": text,
        "kind": one_of("forward"),
        "checkpoint": text,
        "source": source,
        "file": text,
        "inputs": items(lambda value: read_fields(value, entry, {"note": text})),
    }
    data = read_fields(case.data, readers)
    if not data["id"].startswith(f"forward_{data['checkpoint']}"):
        yield f"id: {data['id']} does not name checkpoint {data['checkpoint']}"
    arrays = _read_arrays(case, data["file"])
    if not data["inputs"]:
        raise Malformed("inputs: none")
    for told in data["inputs"]:
        yield from _check_input(case, data["checkpoint"], told, arrays, checkpoints)
    if arrays:
        yield f"{data['file']}: array '{sorted(arrays)[0]}' belongs to no input"


def _read_arrays(case: Case, file: str) -> dict[str, np.ndarray]:
    path = (case.root / file).resolve()
    if not path.is_relative_to(case.root) or not path.is_file():
        raise Malformed(f"file: no '{file}' beside the cases")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise Malformed(f"{file}: cannot be read: {error}") from error


def _check_input(
    case: Case, checkpoint: str, told: Mapping[str, Any], arrays: dict[str, np.ndarray], checkpoints: Checkpoints
) -> Iterator[str]:
    name = told["name"]
    tokens_BL = _take(arrays, f"{name}.input_ids", np.int64)
    shape = tokens_BL.shape
    attention_BL = _take(arrays, f"{name}.attention_mask", np.int64, shape) if told["has_attention_mask"] else None
    positions_BL = _take(arrays, f"{name}.position_ids", np.int64, shape) if told["has_position_ids"] else None
    recorded_BLV = _take(arrays, f"{name}.logits", np.float32)
    real_BL = torch.ones(shape, dtype=torch.bool)
    if attention_BL is not None:
        real_BL = attention_BL == 1
        yield from _check_padding(
            name, attention_BL, tokens_BL, checkpoints.token_ids(case.root, checkpoint).get("pad")
        )
    # Counted over the tokens, 1 at padding: what Dream and the A2D families are given.
    counted_BL = (real_BL.long().cumsum(1) - 1).masked_fill(~real_BL, 1)
    if positions_BL is not None and not torch.equal(positions_BL, counted_BL):
        yield f"{name}.position_ids: do not count the tokens from 0, with 1 at padding"
    if recorded_BLV.shape[:2] != shape or recorded_BLV.dim() != 3:
        raise Malformed(f"{name}.logits: shape {list(recorded_BLV.shape)} does not fit input_ids {list(shape)}")
    if bool((recorded_BLV[~real_BL] != 0).any()):
        yield f"{name}.logits: not 0 at padding"
    computed_NV = _logits(case, checkpoint, name, tokens_BL, attention_BL, positions_BL, real_BL, checkpoints)
    recorded_NV = recorded_BLV[real_BL]
    if computed_NV.shape != recorded_NV.shape:
        yield f"{name}.logits: {recorded_NV.shape[1]} tokens recorded, the model has {computed_NV.shape[1]}"
        return
    apart_NV = (computed_NV - recorded_NV).abs()
    # Written so that a recorded NaN fails.
    if not bool((apart_NV <= TOLERANCE).all()):
        worst = int(apart_NV.nan_to_num(torch.inf).argmax())
        row, column = real_BL.nonzero()[worst // apart_NV.shape[1]].tolist()
        at = f"{name}.logits[{row}, {column}, {worst % apart_NV.shape[1]}]"
        yield f"{at}: {recorded_NV.flatten()[worst]:.6g} recorded, {computed_NV.flatten()[worst]:.6g} computed"


def _take(arrays: dict[str, np.ndarray], name: str, kind: type, shape: torch.Size | None = None) -> Tensor:
    """Take an array out, so that what is left belongs to no input."""
    if name not in arrays:
        raise Malformed(f"array '{name}' is missing")
    array = arrays.pop(name)
    if array.dtype != kind:
        raise Malformed(f"{name}: {np.dtype(kind)} expected, got {array.dtype}")
    tensor = torch.from_numpy(array)
    if shape is None and kind is np.int64 and (tensor.dim() != 2 or not tensor.numel()):
        raise Malformed(f"{name}: two dimensions expected, got shape {list(tensor.shape)}")
    if shape is not None and tensor.shape != shape:
        raise Malformed(f"{name}: shape {list(tensor.shape)} does not fit input_ids {list(shape)}")
    return tensor


def _check_padding(name: str, attention_BL: Tensor, tokens_BL: Tensor, pad: int | None) -> Iterator[str]:
    if not bool(((attention_BL == 0) | (attention_BL == 1)).all()):
        yield f"{name}.attention_mask: neither 0 nor 1"
    if pad is not None and bool((tokens_BL[attention_BL == 0] != pad).any()):
        yield f"{name}.input_ids: another token than {pad} where attention_mask is 0"


def _logits(
    case: Case,
    checkpoint: str,
    name: str,
    tokens_BL: Tensor,
    attention_BL: Tensor | None,
    positions_BL: Tensor | None,
    real_BL: Tensor,
    checkpoints: Checkpoints,
) -> Tensor:
    """Logits at the real tokens, float32 [N, V]."""
    unconverted = name == UNCONVERTED
    model: Any = checkpoints.unconverted(case.root, checkpoint) if unconverted else None
    denoiser = None if unconverted else checkpoints.denoiser(case.root, checkpoint)
    rows = (model or denoiser.model).get_input_embeddings().weight.shape[0]  # type: ignore[union-attr]
    if not 0 <= int(tokens_BL.min()) <= int(tokens_BL.max()) < rows:
        raise Malformed(f"{name}.input_ids: a token id out of the model's {rows}")
    with torch.inference_mode():
        if denoiser is not None:
            return denoiser(tokens_BL, None if attention_BL is None else attention_BL == 1, real_BL, positions_BL)
        options = {"attention_mask": attention_BL, "position_ids": positions_BL}
        given = {key: value for key, value in options.items() if value is not None}
        return model(input_ids=tokens_BL, use_cache=False, **given).logits[real_BL].float()
