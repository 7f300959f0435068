"""The attention of block diffusion, by hand; `dlm verify` compares it with the reference's."""

from __future__ import annotations

import torch

from dlm.diffusion.blocks import sample_mask, sample_positions, train_block_mask, train_mask, train_positions


def rows(mask: torch.Tensor) -> list[str]:
    return ["".join("1" if seen else "0" for seen in row) for row in mask.tolist()]


def test_noisy_tokens_see_their_block_and_the_clean_past():
    assert rows(train_mask(3, 2)) == [
        "110000",  # noisy block 0: itself
        "110000",
        "001110",  # noisy block 1: itself and clean block 0
        "000110",  # clean block 0: itself
        "000110",
        "000111",  # clean block 1: all that is clean
    ]


def test_the_copies_stand_at_the_same_positions():
    assert train_positions(3).tolist() == [0, 1, 2, 0, 1, 2]


def test_flex_attention_is_given_the_same_mask():
    block_mask = train_block_mask(12, 4, torch.device("cpu"))
    index = torch.arange(24)
    given = block_mask.mask_mod(torch.tensor(0), torch.tensor(0), index[:, None], index[None, :])
    assert torch.equal(given, train_mask(12, 4))


def test_a_canvas_is_block_causal_and_padding_sees_nothing():
    valid = torch.tensor([[False, True, True, True, True]])
    assert rows(sample_mask(valid, 2)[0]) == ["00000", "01000", "01110", "01110", "01111"]
    assert sample_positions(valid).tolist() == [[0, 0, 1, 2, 3]]


def test_padding_on_the_right_is_not_counted():
    assert sample_positions(torch.tensor([[True, True, False]])).tolist() == [[0, 1, 1]]


def test_a_mask_of_blocks_is_made_once() -> None:
    cpu = torch.device("cpu")
    assert train_block_mask(8, 4, cpu) is train_block_mask(8, 4, cpu)
    assert train_block_mask(8, 4, cpu) is not train_block_mask(8, 2, cpu)
