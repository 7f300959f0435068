"""Cross-entropy from hidden states, by chunks: the logits of all chosen positions never exist at once.

Shapes: N chosen positions, C of them in a chunk, D width, V tokens.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dlm.models.heads import last_projection, output_head

# Below this many logits (64 MiB of float32) the plain way is as good, and it is kept for the bits that it gives.
_WHOLE_LOGITS = 1 << 24
# Logits of a chunk: on a CPU few enough to stay near its caches, on a GPU enough to fill it.
_CHUNK_LOGITS = {"cpu": 1 << 23, "cuda": 1 << 27}


def cross_entropy(model: Any, hidden_ND: Tensor, targets_N: Tensor, weights_N: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of the targets in nats, float32 [N]: that of ``output_head(model)(hidden_ND).float()``.

    Args:
        model: a transformers model with a language head.
        hidden_ND: its last hidden states at the chosen positions.
        targets_N: int64 [N].
        weights_N: float32 [N], what the result will be multiplied by, up to a common factor; None: 1. It changes no
            number: where it holds, the weights' gradient is made in the forward pass, and no chunk is computed twice.
    """
    split = last_projection(model)
    if split is None or hidden_ND.shape[0] * split[1].weight.shape[0] <= _WHOLE_LOGITS:
        return F.cross_entropy(output_head(model)(hidden_ND).float(), targets_N, reduction="none")
    transform, projection = split
    hidden_ND = transform(hidden_ND)
    kind = hidden_ND.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_ND.dtype
    weights_N = torch.ones_like(targets_N, dtype=torch.float32) if weights_N is None else weights_N.float()
    chunk = max(1, _CHUNK_LOGITS.get(kind, 1 << 23) // projection.weight.shape[0])
    return _ChunkedCrossEntropy.apply(
        hidden_ND.to(dtype), projection.weight.to(dtype), projection.bias, targets_N, weights_N.detach(), chunk
    )


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Both gradients follow from a chunk's logits, so each chunk is turned into them at once and forgotten.

    With p the probabilities and e the targets' unit vectors, the gradient of the hidden state n is g_n (p_n - e_n) W:
    known up to the incoming g_n. That of W is the sum of g_n (p_n - e_n) h_n, which needs g before the sum: it is made
    with the weights as g, and made anew where g turns out to be something else. The scaling of p and the e, which has a
    single entry, are applied to the small side of each product, so that few passes go over a chunk.
    """

    @staticmethod
    def forward(
        context: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor, weights_N: Tensor,
        chunk: int,
    ) -> Tensor:  # fmt: skip
        nll_N = torch.empty_like(weights_N)
        wants_hidden, wants_weight, wants_bias, *_ = context.needs_input_grad
        grad_ND = torch.empty_like(hidden_ND) if wants_hidden else None
        summed = _Sums(weight_VD, bias_V, wants_weight, wants_bias)
        room = _room(weight_VD, min(chunk, len(targets_N)))
        for begin in range(0, len(targets_N), chunk):
            part = slice(begin, begin + chunk)
            targets_C = targets_N[part]
            scaled_VC, total_C, nll_N[part] = _exponentials(hidden_ND[part], weight_VD, bias_V, targets_C, room)
            if grad_ND is not None:
                expected_CD = (scaled_VC.T @ weight_VD).float() / total_C[:, None]
                grad_ND[part] = (expected_CD - weight_VD[targets_C]).to(grad_ND.dtype)
            summed.add(scaled_VC, total_C, targets_C, weights_N[part], hidden_ND[part])
        context.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N, weights_N, grad_ND)
        context.summed, context.chunk = summed, chunk
        return nll_N

    @staticmethod
    @once_differentiable
    def backward(context: Any, *incoming: Tensor) -> Any:
        (g_N,) = incoming
        hidden_ND, weight_VD, bias_V, targets_N, weights_N, grad_ND = context.saved_tensors
        if grad_ND is not None:
            grad_ND = grad_ND * g_N[:, None].to(grad_ND.dtype)
        _, wants_weight, wants_bias, *_ = context.needs_input_grad
        if not (wants_weight or wants_bias):
            return grad_ND, None, None, None, None, None
        # The factor between g and the weights: their quotient where the weights are largest.
        largest = weights_N.abs().argmax()
        factor = g_N[largest] / weights_N[largest]
        # The sums are given away, not copied: who goes backward a second time has them made anew.
        summed, context.summed = context.summed, None
        if summed is not None and torch.allclose(g_N, factor * weights_N, rtol=1e-6, atol=0):
            summed.scale(factor)
        else:
            del summed
            summed = _Sums(weight_VD, bias_V, wants_weight, wants_bias)
            room = _room(weight_VD, min(context.chunk, len(targets_N)))
            for begin in range(0, len(targets_N), context.chunk):
                part = slice(begin, begin + context.chunk)
                scaled_VC, total_C, _ = _exponentials(hidden_ND[part], weight_VD, bias_V, targets_N[part], room)
                summed.add(scaled_VC, total_C, targets_N[part], g_N[part], hidden_ND[part])
        return grad_ND, summed.weight_as(weight_VD), summed.bias_as(bias_V), None, None, None


class _Sums:
    """The gradients of the projection, summed in float32 over the chunks."""

    def __init__(self, weight_VD: Tensor, bias_V: Tensor | None, wants_weight: bool, wants_bias: bool) -> None:
        self.weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if wants_weight else None
        self.bias_V = torch.zeros_like(bias_V, dtype=torch.float32) if wants_bias and bias_V is not None else None

    def add(self, scaled_VC: Tensor, total_C: Tensor, targets_C: Tensor, g_C: Tensor, hidden_CD: Tensor) -> None:
        """Add a chunk: what :func:`_exponentials` made of it, and the incoming gradients."""
        if self.bias_V is not None:
            self.bias_V += scaled_VC.float() @ (g_C / total_C)
            self.bias_V.index_add_(0, targets_C, -g_C)
        if self.weight_VD is not None:
            part_CD = hidden_CD.float() * (g_C / total_C)[:, None]
            if scaled_VC.dtype == torch.float32:
                self.weight_VD.addmm_(scaled_VC, part_CD)
            else:
                self.weight_VD += scaled_VC @ part_CD.to(scaled_VC.dtype)
            self.weight_VD.index_add_(0, targets_C, -g_C[:, None] * hidden_CD.float())

    def scale(self, factor: Tensor) -> None:
        """Multiply them by a number."""
        for made in (self.weight_VD, self.bias_V):
            if made is not None:
                made *= factor

    def weight_as(self, weight_VD: Tensor) -> Tensor | None:
        """Return the gradient of the weight in its type; None where it is not wanted."""
        return None if self.weight_VD is None else self.weight_VD.to(weight_VD.dtype)

    def bias_as(self, bias_V: Tensor | None) -> Tensor | None:
        """Return the gradient of the bias in its type; None where there is none or it is not wanted."""
        return None if self.bias_V is None or bias_V is None else self.bias_V.to(bias_V.dtype)


def _room(weight_VD: Tensor, columns: int) -> Tensor | None:
    """Return room for the logits of a chunk, float32: chunks that take turns in it spare the system its new pages.

    None for narrower weights, whose logits are in float32 for a moment only.
    """
    if weight_VD.dtype != torch.float32:
        return None
    return torch.empty(weight_VD.shape[0] * columns, dtype=torch.float32, device=weight_VD.device)


def _exponentials(
    hidden_CD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_C: Tensor, room: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return exp(logits - largest) [V, C] as the weights' type, its sum and the cross-entropy, float32 [C].

    The vocabulary comes first: matrix products over it are faster so on a CPU. The first result lies in
    ``room``, where there is one, and is good until that is used again.
    """
    if room is None:
        logits_VC = (weight_VD @ hidden_CD.T).float()
    else:
        shape = weight_VD.shape[0], hidden_CD.shape[0]
        logits_VC = torch.mm(weight_VD, hidden_CD.T, out=room[: shape[0] * shape[1]].view(shape))
    if bias_V is not None:
        logits_VC += bias_V.float()[:, None]
    logits_VC -= logits_VC.amax(0)
    wanted_C = logits_VC.gather(0, targets_C[None])[0]
    total_C = logits_VC.exp_().sum(0)
    return logits_VC.to(weight_VD.dtype), total_C, total_C.log() - wanted_C
