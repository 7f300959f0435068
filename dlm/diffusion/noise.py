"""Counter-based random numbers: each is a function of (seed, stream, counters, position) and of nothing else.

Batch size, the company of a row, rank, device and interruption therefore cannot change them. The mixing function is the
finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), applied
once for every counter.

Shapes: B rows, L numbers a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MULTIPLY_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MULTIPLY_2 = 0x94D049BB133111EB - (1 << 64)


def uniform(seed: int, streams_B: Tensor, length: int, *counters: int | Tensor) -> Tensor:
    """Draw uniform numbers.

    Args:
        seed: any whole number.
        streams_B: int64 [B], the identity of each row (a prompt, a training example).
        length: numbers per row, L.
        counters: further coordinates, such as a step: whole numbers, or int64 tensors [B].

    Returns:
        float64 [B, L] on the device of ``streams_B``, in (0, 1): odd multiples of 2**-53, so neither end
        is ever drawn and a logarithm is always finite.
    """
    device = streams_B.device
    state_B = _mix(torch.full_like(streams_B, _signed(seed)) + _GOLDEN)
    for counter in (streams_B, *counters):
        value_B = counter if isinstance(counter, Tensor) else torch.full_like(streams_B, _signed(counter))
        # The state is mixed before each counter is added, so that swapping two counters gives other numbers.
        state_B = _mix(state_B + value_B + _GOLDEN)
    position_L = torch.arange(1, length + 1, device=device, dtype=torch.int64)
    bits_BL = _mix(state_B[:, None] + position_L[None, :] * _GOLDEN)
    return (_shift(bits_BL, 12).to(torch.float64) + 0.5) * 2.0**-52


def gumbel(seed: int, streams_B: Tensor, length: int, *counters: int | Tensor) -> Tensor:
    """Draw standard Gumbel numbers, float64 [B, L]; arguments as for :func:`uniform`."""
    return -torch.log(-torch.log(uniform(seed, streams_B, length, *counters)))


def _signed(value: int) -> int:
    """Fold a whole number into the range of int64."""
    return (int(value) + (1 << 63)) % (1 << 64) - (1 << 63)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Shift right without extending the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    value = (value ^ _shift(value, 30)) * _MULTIPLY_1
    value = (value ^ _shift(value, 27)) * _MULTIPLY_2
    return value ^ _shift(value, 31)
