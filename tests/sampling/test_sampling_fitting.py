"""Decoding methods that run on a checkpoint, and were made for another kind."""

from __future__ import annotations

from typing import Any

import pytest

from dlm.models import Conventions
from dlm.sampling import misfits
from dlm.settings import preset

LLADA = {"objective": "mdlm", "shift": False}
DREAM = {"objective": "mdlm", "shift": True}
BLOCKS = {"objective": "bd3lm", "shift": False, "block_size": 16}


def found(conventions: dict[str, Any], name: str, **changes: Any) -> list[str]:
    settings = preset(name, max_new_tokens=32, **changes)
    return misfits(Conventions(mask_token_id=1, **conventions), settings)


@pytest.mark.parametrize(
    ("conventions", "name", "changes"),
    [
        (LLADA, "llada", {}),
        (LLADA, "dream", {}),
        (LLADA, "fast-dllm-llada-dual", {}),
        (DREAM, "fast-dllm-dream-prefix", {}),
        (DREAM, "fast-dllm-llada", {}),
        (BLOCKS, "bd3lm", {"block_size": 16}),
        ({"objective": "none", "shift": False}, "bd3lm", {}),
    ],
)
def test_what_fits_is_not_spoken_of(conventions: dict[str, Any], name: str, changes: dict[str, Any]) -> None:
    assert found(conventions, name, **changes) == []


@pytest.mark.parametrize(
    ("conventions", "name", "words"),
    [
        (LLADA, "bd3lm", "a growing canvas hides what follows a block"),
        (BLOCKS, "llada", "trained in blocks of 16 tokens that do not see it; take a method with a growing canvas"),
        (BLOCKS, "bd3lm", "block_size is 32, and the checkpoint was trained in blocks of 16"),
        (LLADA, "fast-dllm-dream-prefix", "this one does so at its own: take 'select'"),
        (DREAM, "fast-dllm-llada-dual", "take first_pass 'first_token'"),
    ],
)
def test_what_does_not_fit_is_one_line(conventions: dict[str, Any], name: str, words: str) -> None:
    (line,) = found(conventions, name)
    assert words in line and "\n" not in line
