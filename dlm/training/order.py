"""The order of the rows of an epoch: a function of seed and epoch, so that a continued training finds it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

_POOL = 50  # batches among which rows of similar length are put together


class LengthGrouped(Sampler[int]):
    """Shuffled rows whose neighbours have similar lengths, so that less of a batch is filler.

    Args:
        lengths: tokens of each row.
        batch_size: rows of an update, over all processes.
        seed: of the shuffle.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        shuffled = torch.randperm(len(self.lengths), generator=generator).tolist()
        size, batches = self.batch_size, list[list[int]]()
        for begin in range(0, len(shuffled), _POOL * size):
            pool = sorted(shuffled[begin : begin + _POOL * size], key=lambda row: -self.lengths[row])
            batches += [pool[first : first + size] for first in range(0, len(pool), size)]
        short = [batches.pop()] if batches and len(batches[-1]) < size else []  # stays last, where it may be dropped
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield from batches[number]
        for batch in short:
            yield from batch
