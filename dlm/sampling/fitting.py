"""Whether a decoding method fits what a checkpoint was trained for: told in words, since both run without it."""

from __future__ import annotations

from dlm.models import Conventions
from dlm.settings import ApproximateCache, GrowingCanvas, SamplerSettings


def misfits(conventions: Conventions, settings: SamplerSettings) -> list[str]:
    """Return in what settings do not fit a checkpoint, a line each; none where its conventions say nothing of it.

    Block diffusion trains a token to see its own and earlier blocks only (arXiv 2503.09573, section 3), masked
    diffusion to see all. The cached decoders of NVlabs/Fast-dLLM differ between LLaDA and Dream in the pass that
    decides a block's first token, which a shifted model scores at the position before.
    """
    return [*_canvas(conventions, settings), *_cache(conventions, settings)]


def _canvas(conventions: Conventions, settings: SamplerSettings) -> list[str]:
    canvas, trained = settings.canvas, conventions.block_size
    growing = isinstance(canvas, GrowingCanvas)
    if growing and conventions.objective == "mdlm":
        return [
            "a growing canvas hides what follows a block, and the checkpoint was trained to see it (masked diffusion); "
            "take a method with a full canvas, such as the preset llada"
        ]
    if conventions.objective != "bd3lm" or trained is None:
        return []
    if not growing:
        return [
            f"a full canvas shows what follows a block, and the checkpoint was trained in blocks of {trained} tokens "
            "that do not see it; take a method with a growing canvas, such as the preset bd3lm"
        ]
    if canvas.block != trained:
        return [f"block_size is {canvas.block}, and the checkpoint was trained in blocks of {trained} tokens"]
    return []


def _cache(conventions: Conventions, settings: SamplerSettings) -> list[str]:
    cache = settings.canvas.cache
    if not isinstance(cache, ApproximateCache):
        return []
    if conventions.shift and cache.first_pass == "select":
        return [
            "the checkpoint scores a token at the position before it, so no pass after a block's first scores the "
            "block's first token anew; take first_pass 'first_token', as the presets fast-dllm-dream-… do"
        ]
    if not conventions.shift and cache.first_pass == "first_token":
        return [
            "first_pass 'first_token' commits a block's first token whatever its score, for checkpoints that score a "
            "token at the position before it; this one does so at its own: take 'select', as fast-dllm-llada-… do"
        ]
    return []
