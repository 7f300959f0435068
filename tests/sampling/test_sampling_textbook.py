"""The sampler gives the answers of textbook implementations, token for token."""

from __future__ import annotations

import textbook
from doubles import small_denoiser

from dlm.sampling import Sampler
from dlm.settings import preset

PROMPTS = [[5, 6, 7], [8, 9, 5, 6, 7, 8, 9, 5], [6, 7, 8, 9, 10, 5]]


def test_masked_diffusion() -> None:
    model = small_denoiser()
    settings = preset("llada", max_new_tokens=12, block_size=6, steps=6)
    expected = textbook.masked_diffusion(
        model.model, PROMPTS, new_tokens=12, block_size=6, steps=6, mask=model.mask_token_id
    )
    assert [list(sample.tokens) for sample in Sampler(model, settings).sample(PROMPTS)] == expected


def test_block_diffusion() -> None:
    model = small_denoiser()
    settings = preset("bd3lm", max_new_tokens=12, block_size=4, steps=6, stop=None)
    expected = textbook.block_diffusion(
        model.model, PROMPTS, new_tokens=12, block_size=4, steps=2, mask=model.mask_token_id
    )
    assert [list(sample.tokens) for sample in Sampler(model, settings).sample(PROMPTS)] == expected
