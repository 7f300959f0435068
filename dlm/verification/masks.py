"""Cases of kind ``masks``: who may see whom in block diffusion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlm.diffusion import sample_mask, sample_positions, train_mask
from dlm.verification.cases import Case
from dlm.verification.checkpoints import Checkpoints
from dlm.verification.fields import Malformed, difference, items, matrix, one_of, read_fields, text, whole
from dlm.verification.sources import function_of, source

_SIZE = whole(1, 4096)
_TRAIN = ("ZHZisZZ/dllm", "dllm/core/trainers/bd3lm.py", "_create_bd3lm_attention_mask")
_SAMPLE = ("ZHZisZZ/dllm", "dllm/core/samplers/bd3lm.py", "_prepare_for_sampling")


def check(case: Case, checkpoints: Checkpoints) -> Iterator[str]:
    """Yield what differs between a case and this implementation."""
    kind = case.data.get("kind") if isinstance(case.data, dict) else None
    if kind == "train_mask":
        yield from _check_train(case)
    elif kind == "sample_mask":
        yield from _check_sample(case)
    else:
        raise Malformed(f"kind: expected train_mask or sample_mask, got {kind!r}")


def _check_train(case: Case) -> Iterator[str]:
    data = _read(case, _TRAIN, {"n": _SIZE, "shape": items(whole(0)), "rows": items(text)})
    length, block_size = data["n"], data["block_size"]
    # The name tells both sizes; a block of the whole length or more makes the same mask whatever its size.
    told = re.search(r"_(\d+)_(\d+)$", data["id"])
    if told and (int(told[1]), int(told[2])) != (length, block_size):
        yield f"id: {data['id']} does not name n={length} and block_size={block_size}"
    yield from _differences(
        ("shape", data["shape"], [2 * length, 2 * length]),
        ("rows", data["rows"], _rows(train_mask(length, block_size))),
    )


def _check_sample(case: Case) -> Iterator[str]:
    readers = {"valid": matrix(one_of(0, 1)), "rows": items(items(text)), "position_ids": matrix(whole(0))}
    data = _read(case, _SAMPLE, readers)
    valid_BL = torch.tensor(data["valid"]).bool()
    masks = [_rows(mask_LL) for mask_LL in sample_mask(valid_BL, data["block_size"])]
    yield from _differences(
        ("rows", data["rows"], masks), ("position_ids", data["position_ids"], sample_positions(valid_BL).tolist())
    )


def _read(case: Case, function: tuple[str, str, str], readers: dict[str, Any]) -> dict[str, Any]:
    data = read_fields(case.data, {"id": text, "kind": text, "source": source, "block_size": _SIZE, **readers})
    if function_of(data["source"]) != function:
        raise Malformed(f"source: this is compared with {', '.join(function)} only")
    return data


def _rows(mask_LL: Tensor) -> list[str]:
    return ["".join("1" if seen else "0" for seen in row) for row in mask_LL.tolist()]


def _differences(*compared: tuple[str, Any, Any]) -> Iterator[str]:
    for name, recorded, computed in compared:
        if found := difference(name, recorded, computed):
            yield found
