"""Safetensors files as regions of bytes: tensors are found, checked, moved and compared without being loaded.

A file is 8 bytes (length of the header, little-endian), the header (JSON: name -> dtype, shape, begin and end of its
data), then the data of all tensors without a gap. Whoever renames tensors only has to write another header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import CheckpointError, DataError
from dlm.files import read_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
CHUNK = 8 << 20
"""Bytes held in memory at a time."""
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_LONGEST_HEADER = 100_000_000  # the format's own limit


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor in a file."""

    name: str
    dtype: str
    """As safetensors writes it: `F32`, `BF16`, …"""
    shape: tuple[int, ...]
    file: Path
    begin: int
    """First byte in the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of weights."""

    path: Path
    head: bytes
    """Everything before the data: length and header, as they stand in the file."""
    tensors: tuple[StoredTensor, ...]
    """In the order of their data."""


def read_shards(folder: Path) -> list[Shard]:
    """Read the headers of all weights of a checkpoint folder, sorted by file name, and check every file's length.

    Raises:
        CheckpointError: there are none, a file is missing, truncated or not legible, or index and files differ.
    """
    if (folder / SINGLE).is_file():
        return [read_shard(folder / SINGLE)]
    if not (folder / INDEX).is_file():
        raise CheckpointError(f"{folder}: {_why_no_weights(folder)}")
    weight_map = _read_index(folder / INDEX)
    shards = [read_shard(folder / name) for name in sorted(set(weight_map.values()))]
    found: dict[str, str] = {}
    for shard in shards:
        for tensor in shard.tensors:
            if tensor.name in found:
                raise CheckpointError(
                    f"{folder}: tensor '{tensor.name}' is in {found[tensor.name]} and {shard.path.name}"
                )
            found[tensor.name] = shard.path.name
    for name in sorted(weight_map.keys() | found.keys()):
        if weight_map.get(name) != found.get(name):
            raise CheckpointError(
                f"{folder / INDEX}: tensor '{name}' is listed in {weight_map.get(name, 'no file')}, "
                f"but lies in {found.get(name, 'none of the files')}"
            )
    return shards


def _why_no_weights(folder: Path) -> str:
    others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for path in folder.glob(pattern))
    if others:
        return (
            f"its weights are {others[0]}; only safetensors files are read (transformers' save_pretrained writes them)"
        )
    return f"no weights in it: neither {SINGLE} nor {INDEX}"


def _read_index(path: Path) -> Mapping[str, str]:
    try:
        weight_map = read_json(path)["weight_map"]
    except (DataError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a legible index of weights; fetch it again") from error
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: its weight_map is empty; fetch it again")
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(f"{path}: tensor '{name}' is listed in {file!r}, which is no file name")
        if not (path.parent / file).is_file():
            raise CheckpointError(f"{path.parent / file}: listed in {path.name} but missing; fetch it again")
    return weight_map


def read_shard(path: Path) -> Shard:
    """Read the header of a safetensors file and check that the file has the length that it says.

    Raises:
        CheckpointError: truncated, too long, or not a safetensors file.
    """
    whole = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > min(whole - 8, _LONGEST_HEADER):
            raise CheckpointError(f"{path}: {whole} bytes, too short for its header (truncated?); fetch it again")
        head = prefix + stream.read(length)
    tensors = read_head(head, path)
    end = 8 + length
    for tensor in tensors:
        if tensor.begin != end:
            raise CheckpointError(
                f"{path}: the data of '{tensor.name}' do not follow those before them; fetch it again"
            )
        end += tensor.size
    if end != whole:
        raise CheckpointError(f"{path}: {whole} bytes, its header says {end} (truncated?); fetch it again")
    return Shard(path=path, head=head, tensors=tensors)


def read_head(head: bytes, path: Path) -> tuple[StoredTensor, ...]:
    """Read the head of the file ``path``, whose data follow it; the tensors are in the order of their data.

    Raises:
        CheckpointError: it is not legible.
    """
    try:
        return _parse(json.loads(head[8:]), path, len(head))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a legible safetensors header ({error}); fetch it again") from error


def _parse(header: Mapping[str, Any], path: Path, start: int) -> tuple[StoredTensor, ...]:
    tensors = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        (begin, end), shape, dtype = entry["data_offsets"], tuple(int(size) for size in entry["shape"]), entry["dtype"]
        bits = _BITS.get(dtype)
        if bits is not None and math.prod(shape) * bits != 8 * (end - begin):
            raise ValueError(f"'{name}' has {end - begin} bytes, which {dtype} {list(shape)} has not")
        tensors.append(
            StoredTensor(name=name, dtype=dtype, shape=shape, file=path, begin=start + begin, size=end - begin)
        )
    return tuple(sorted(tensors, key=lambda tensor: (tensor.begin, tensor.size)))


def chunks(tensor: StoredTensor, stop: int | None = None) -> Iterator[bytes]:
    """Yield the data of a tensor, or its first ``stop`` bytes, a few megabytes at a time.

    Raises:
        CheckpointError: the file ends before the tensor does: it was changed while it was read.
    """
    left = tensor.size if stop is None else stop
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.begin)
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise CheckpointError(f"{tensor.file}: ends inside '{tensor.name}'; it was changed while it was read")
            left -= len(chunk)
            yield chunk


def same_data(first: StoredTensor, second: StoredTensor) -> bool:
    """Whether two tensors have the same type, shape and bytes."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    return all(a == b for a, b in zip(chunks(first), chunks(second), strict=True))


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A tensor to be written: the data of a stored one, and rows appended to them."""

    name: str
    shape: tuple[int, ...]
    origin: StoredTensor
    appended: bytes = b""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.origin.size + len(self.appended)


def write_shard(path: Path, pieces: Sequence[Piece], moved: Callable[[int], None]) -> None:
    """Write a safetensors file from stored tensors, a few megabytes at a time.

    Args:
        path: the new file.
        pieces: in the order of their data.
        moved: called with the number of bytes, after each chunk.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for piece in pieces:
        header[piece.name] = {
            "dtype": piece.origin.dtype,
            "shape": list(piece.shape),
            "data_offsets": [end, end + piece.size],
        }
        end += piece.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8, as other writers have it
    with path.open("xb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for piece in pieces:
            for chunk in chunks(piece.origin):
                stream.write(chunk)
                moved(len(chunk))
            stream.write(piece.appended)


def write_index(folder: Path, weight_map: Mapping[str, str], total_size: int) -> None:
    """Write the index of a checkpoint of several files, as transformers does."""
    index = {"metadata": {"total_size": total_size}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
