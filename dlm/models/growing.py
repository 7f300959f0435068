"""Room for a token that a model's matrices have no row for."""

from __future__ import annotations

import torch

from dlm.errors import CheckpointError
from dlm.models.shards import CHUNK, StoredTensor

TORCH_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of floating point, by the name that safetensors gives them."""
_COARSEST = 128
"""Vocabularies are padded to a multiple of this at most, for the sake of the hardware."""


def grown_vocabulary(rows: int, needed: int) -> int:
    """Return the number of rows for ``needed`` tokens: as it was if they fit, else more, of the multiple that it had.

    >>> grown_vocabulary(320, 292), grown_vocabulary(320, 321), grown_vocabulary(50257, 50258)
    (320, 384, 50258)
    """
    if needed <= rows:
        return rows
    multiple = next(size for size in (_COARSEST, 64, 32, 16, 8, 4, 2, 1) if rows % size == 0)
    return -(-needed // multiple) * multiple


def mean_row(tensor: StoredTensor, where: str) -> bytes:
    """Return the mean of a stored tensor's rows, in the tensor's type: what an untrained row begins with.

    The mean of the trained rows gives a new token an embedding and a logit that stand out in no direction.

    Raises:
        CheckpointError: the tensor is not of floating point.
    """
    if tensor.dtype not in TORCH_TYPES:
        raise CheckpointError(f"{where}: '{tensor.name}' has the type {tensor.dtype}, to which no row can be added")
    kind, rows = TORCH_TYPES[tensor.dtype], tensor.shape[0]
    row_size = tensor.size // rows
    total_D = torch.zeros(row_size // kind.itemsize, dtype=torch.float64)
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.begin)
        left = rows
        while left:
            taken = min(max(CHUNK // row_size, 1), left)
            data = bytearray(stream.read(taken * row_size))
            total_D += torch.frombuffer(data, dtype=kind).reshape(taken, -1).sum(0, dtype=torch.float64)
            left -= taken
    return (total_D / rows).to(kind).view(torch.uint8).numpy().tobytes()
