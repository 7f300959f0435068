"""The parts of the sampling loop, on values that can be checked by eye."""

from __future__ import annotations

import pytest
import torch
from doubles import word_tokenizer
from scipy import stats

from dlm.diffusion import schedule
from dlm.errors import SettingsError
from dlm.sampling import even_counts, floor_counts, schedule_counts, select_by_factor, select_highest
from dlm.sampling.canvas import BlockwiseCanvas, WholeCanvas
from dlm.sampling.proposing import Where, most_probable, propose, token_ids, without
from dlm.sampling.scoring import probability_score, random_score
from dlm.sampling.state import Row, State
from dlm.settings import GrowingCanvas, Proposer


@pytest.mark.parametrize(
    ("positions", "steps", "expected"),
    [(10, 4, [3, 3, 2, 2]), (8, 4, [2, 2, 2, 2]), (3, 4, [1, 1, 1, 0]), (0, 2, [0, 0]), (5, 1, [5])],
)
def test_even_counts(positions: int, steps: int, expected: list[int]) -> None:
    assert even_counts(torch.tensor([positions]), steps).tolist() == [expected]


@pytest.mark.parametrize(
    ("positions", "steps", "name", "expected"),
    [
        # By hand: round(5/2) is 2, the even neighbour; what is left then is 3.
        ([5], 2, "linear", [[2, 3]]),
        # A third of 8 is 2.67, half of 5 is 2.5, both rounded half to even.
        ([8], 3, "linear", [[3, 2, 3]]),
        # More steps than positions: the steps that would reveal nothing are gone.
        ([2], 7, "linear", [[1, 1]]),
        ([8, 3], 4, "linear", [[2, 2, 2, 2], [1, 1, 1, 0]]),
        # 1 - sin(3 pi/8) = 0.076 of 16 is 1.2; 0.235 of 15 is 3.5; 0.459 of 11 is 5.05; the rest.
        ([16], 4, "cosine", [[1, 4, 5, 6]]),
        ([0], 3, "linear", [[]]),
    ],
)
def test_schedule_counts(positions: list[int], steps: int, name: str, expected: list[list[int]]) -> None:
    counts = schedule_counts(torch.tensor(positions), steps, schedule(name))
    assert counts.tolist() == expected
    assert counts.sum(1).tolist() == positions


@pytest.mark.parametrize(
    ("positions", "steps", "expected"),
    [
        # Times 1, 0.667, 0.334, 0.001: a third less a little of 6 is 1.998, then half less a little of 5 is 2.49.
        (6, 3, [1, 2, 3]),
        # As many steps as positions: the first reveals 0.9990.
        (2, 2, [0, 2]),
        (5, 1, [5]),
    ],
)
def test_floor_counts(positions: int, steps: int, expected: list[int]) -> None:
    assert floor_counts(torch.tensor([positions, 0]), steps, 1e-3).tolist() == [expected, [0] * steps]


@pytest.mark.parametrize(
    ("scores", "factor", "expected", "expected_with_last"),
    [
        # The thresholds of factor 1: 1/2, 2/3, 3/4, 4/5.
        ([0.9, 0.7, 0.74, 0.1], 1.0, [0, 2], [0, 2]),
        ([0.1, 0.2], 1.0, [1], [1]),  # the highest always
        ([0.9, 0.7, 0.8, 0.79], 1.0, [0, 2, 3], [0, 1, 2, 3]),
        ([0.9, 0.6], 0.5, [0], [0, 1]),
    ],
)
def test_selection_by_factor(
    scores: list[float], factor: float, expected: list[int], expected_with_last: list[int]
) -> None:
    # A closed position in front, with the best score of all, changes nothing.
    score = torch.tensor([[1.0, *scores]], dtype=torch.float64)
    opened = torch.tensor([[False] + [True] * len(scores)])
    for last_rank, indices in ((False, expected), (True, expected_with_last)):
        chosen = select_by_factor(score, opened, factor, last_rank=last_rank)
        assert [index - 1 for index in chosen[0].nonzero().flatten().tolist()] == indices


def test_the_highest_open_scores_are_selected() -> None:
    score = torch.tensor([[0.9, 0.1, 0.8, 0.7]], dtype=torch.float64)
    opened = torch.tensor([[False, True, True, True]])
    assert select_highest(score, opened, torch.tensor([2])).tolist() == [[False, False, True, True]]


def test_ties_go_to_the_lowest_position() -> None:
    score = torch.tensor([[0.5, 0.7, 0.5, 0.7, 0.7]], dtype=torch.float64)
    chosen = select_highest(score, torch.ones(1, 5, dtype=torch.bool), torch.tensor([2]))
    assert chosen.tolist() == [[False, True, False, True, False]]


def test_never_more_than_the_open_positions() -> None:
    opened = torch.tensor([[True, False, False]])
    assert select_highest(torch.zeros(1, 3, dtype=torch.float64), opened, torch.tensor([3])).sum() == 1


def test_rows_have_their_own_counts() -> None:
    score = torch.tensor([[0.1, 0.2, 0.3]] * 3, dtype=torch.float64)
    chosen = select_highest(score, torch.ones(3, 3, dtype=torch.bool), torch.tensor([0, 1, 2]))
    assert chosen.sum(1).tolist() == [0, 1, 2]


def where(count: int, step: int = 0) -> Where:
    zero = torch.zeros(count, dtype=torch.int64)
    return Where(seed=0, stream_N=torch.arange(count), position_N=zero, step_N=zero + step)


def test_temperature_zero_takes_the_most_probable_that_is_not_banned() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [2.0, 9.0, 2.0]])
    assert propose(logits, Proposer(), [1], where(2)).tolist() == [2, 0]


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_draw_has_the_tempered_distribution(temperature: float) -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 5.0])
    draws = 20_000
    drawn = propose(logits.expand(draws, 4), Proposer(temperature=temperature), [3], where(draws))
    expected = torch.softmax(logits[:3].double() / temperature, 0) * draws
    observed = torch.bincount(drawn, minlength=4)
    assert observed[3] == 0
    assert stats.chisquare(observed[:3].numpy(), expected.numpy()).pvalue > 1e-3


def test_the_score_is_the_probability_of_the_token() -> None:
    logits = torch.randn(5, 7)
    token = logits.argmax(1)
    expected = torch.softmax(logits.double(), 1).amax(1)
    torch.testing.assert_close(probability_score(logits, token, where(5)), expected)


def test_tokens_are_taken_out_of_the_vocabulary() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    rest = without(logits, [1])
    assert rest.tolist() == [[1.0, float("-inf"), 2.0]]
    assert without(logits, []) is logits
    # Of what is left, e / (e + e^2); a proposal that is not among it counts 0.
    assert probability_score(rest, torch.tensor([0]), where(1)).item() == pytest.approx(1 / (1 + torch.e))
    assert probability_score(rest, torch.tensor([1]), where(1)).item() == 0


def test_random_scores_are_uniform_and_not_the_noise_of_the_draw() -> None:
    scores = random_score(torch.zeros(5000, 3), torch.zeros(5000, dtype=torch.int64), where(5000))
    assert stats.kstest(scores.numpy(), "uniform").pvalue > 1e-3


def test_tokens_are_given_by_id_or_text() -> None:
    assert token_ids("suppress_tokens", ("<|eot_id|>", 7, 7), word_tokenizer(), 24) == [2, 7]


@pytest.mark.parametrize("token", ["<|nothing|>", 24, -1])
def test_an_unknown_token_is_refused_under_the_settings_name(token: int | str) -> None:
    with pytest.raises(SettingsError, match=r"keep_tokens: .* is not in the vocabulary of 24 tokens"):
        token_ids("keep_tokens", (token,), word_tokenizer(), 24)


def rows(answer: int, block: int, *prompts: list[int], full: bool = True) -> list[Row]:
    return [
        Row(
            tokens=prompt + [1] * answer if full else prompt,
            open=range(len(prompt), len(prompt) + answer) if full else (),
            start=len(prompt),
            length=answer,
            block=block,
            stream=index,
            index=index,
        )
        for index, prompt in enumerate(prompts)
    ]


def whole(answer: int, *prompts: list[int]) -> State:
    most = max(map(len, prompts)) + answer
    return WholeCanvas(mask_token_id=1, pad_token_id=0, most=most).lay(rows(answer, 2, *prompts), torch.device("cpu"))


def places(window) -> list[list[int]]:
    """Columns of each row's block."""
    return [
        [column for column, inside in zip(columns, insides, strict=True) if inside]
        for columns, insides in zip(window.index_BS.tolist(), window.inside_BS.tolist(), strict=True)
    ]


def test_prompts_of_different_lengths_share_a_canvas() -> None:
    state = whole(3, [5, 6, 7], [8])
    assert state.tokens_BL.tolist() == [[5, 6, 7, 1, 1, 1], [8, 1, 1, 1, 0, 0]]
    assert state.attention_BL.tolist() == [[True] * 6, [True] * 4 + [False] * 2]
    assert state.open_BL.tolist() == [[False] * 3 + [True] * 3, [False] + [True] * 3 + [False] * 2]
    assert places(state.window()) == [[3, 4], [1, 2]]
    state.block_B += 1
    assert places(state.window()) == [[5], [3]]


def test_a_whole_canvas_grows_and_shrinks_by_sixteen_columns_as_far_as_the_model_goes() -> None:
    canvas = WholeCanvas(mask_token_id=1, pad_token_id=0, most=40)
    long, short = rows(10, 10, [4] * 25, [4] * 2)
    assert canvas.lay([short], torch.device("cpu")).tokens_BL.shape == (1, 16)
    state = canvas.lay([long, short], torch.device("cpu"))
    assert (state.tokens_BL.shape, state.attention_BL.sum(1).tolist()) == ((2, 40), [35, 12])
    state, cut = canvas.trim(state.take(torch.tensor([1])))
    assert (state.tokens_BL.shape, cut) == ((1, 16), 0)


def test_rows_may_be_at_different_blocks() -> None:
    state = whole(3, [5, 6, 7], [8])
    state.block_B[0] = 1
    assert places(state.window()) == [[5], [1, 2]]
    state.commit(state.window(), torch.tensor([[True, False], [True, True]]), torch.tensor([[9, 9], [7, 8]]))
    assert state.tokens_BL.tolist() == [[5, 6, 7, 1, 1, 9], [8, 7, 8, 1, 0, 0]]


def test_blocks_of_a_growing_canvas_are_counted_from_the_prompts_end() -> None:
    settings = GrowingCanvas(max_new_tokens=3, block_size=2)
    canvas = BlockwiseCanvas(settings, mask_token_id=1, pad_token_id=0)
    state = canvas.lay(rows(3, 2, [5, 6, 7], [8], full=False), torch.device("cpu"))
    assert state.tokens_BL.tolist() == [[0, 5, 6, 7], [0, 0, 0, 8]]
    assert not state.open_BL.any()
    assert places(canvas.open_block(state)) == [[4, 5]] * 2
    assert state.tokens_BL.tolist() == [[0, 5, 6, 7, 1, 1], [0, 0, 0, 8, 1, 1]]
    assert state.open_BL.tolist() == [[False] * 4 + [True] * 2] * 2
    assert state.attention_BL.tolist() == [[False] + [True] * 5, [False] * 3 + [True] * 3]
    state.block_B += 1
    assert places(canvas.open_block(state)) == [[6]] * 2


def test_a_row_that_joins_a_growing_canvas_is_aligned_with_the_others() -> None:
    canvas = BlockwiseCanvas(GrowingCanvas(max_new_tokens=3, block_size=2), mask_token_id=1, pad_token_id=0)
    state = canvas.lay(rows(3, 2, [5, 6, 7], full=False), torch.device("cpu"))
    canvas.open_block(state)
    state.block_B += 1
    new = canvas.lay(rows(3, 2, [4] * 7, full=False), torch.device("cpu"))
    old, new = canvas.align(state, new)
    both = old.joined(new)
    assert both.tokens_BL.tolist() == [[0, 0, 0, 5, 6, 7, 1, 1], [0, 4, 4, 4, 4, 4, 4, 4]]
    assert both.start_B.tolist() == [6, 8]
    assert places(canvas.open_block(both)) == [[8], [8, 9]]
    assert both.attention_BL[0].tolist() == [False] * 3 + [True] * 6 + [False]
    alone, cut = canvas.trim(both.take(torch.tensor([0])))
    assert (cut, alone.tokens_BL.tolist(), alone.start_B.tolist()) == (2, [[0, 5, 6, 7, 1, 1, 1, 0]], [4])


def test_pad_tokens_of_finished_blocks_are_hidden_where_that_is_set() -> None:
    settings = GrowingCanvas(max_new_tokens=4, block_size=2, hide_pad_token=True)
    canvas = BlockwiseCanvas(settings, mask_token_id=1, pad_token_id=0)
    state = canvas.lay(rows(4, 2, [5, 0], full=False), torch.device("cpu"))
    window = canvas.open_block(state)
    state.commit(window, torch.tensor([[True, True]]), torch.tensor([[0, 9]]))
    assert state.attention_BL.tolist() == [[True, False, True, True]], "not before the block is finished"
    state.block_B += 1
    canvas.open_block(state)
    assert state.attention_BL.tolist() == [[True, False, False, True, True, True]]


def test_committing_writes_and_closes() -> None:
    state = whole(2, [5])
    state.commit(state.window(), torch.tensor([[False, True]]), torch.tensor([[7, 8]]))
    assert state.tokens_BL.tolist() == [[5, 1, 8]]
    assert state.open_BL.tolist() == [[False, True, False]]
    assert state.step_BL.tolist() == [[-1, -1, 0]]
    state.reopen(state.window(), torch.tensor([[False, True]]), mask_token_id=1)
    assert state.tokens_BL.tolist() == [[5, 1, 1]]
    assert state.open_BL.tolist() == [[False, True, True]]


def test_rows_are_taken_by_index_or_by_mask() -> None:
    state = whole(1, [5], [6], [7])
    assert state.take(torch.tensor([2, 0, 0])).tokens_BL.tolist() == [[7, 1], [5, 1], [5, 1]]
    kept = state.take(torch.tensor([False, True, True]))
    assert (kept.prompt_B.tolist(), kept.stream_B.tolist()) == ([1, 2], [1, 2])
    kept.tokens_BL[:] = 0
    assert state.tokens_BL.tolist() == [[5, 1], [6, 1], [7, 1]], "what is taken is a copy"


@pytest.mark.parametrize("vocabulary", [300, 512, 1000, 4099])
def test_the_most_probable_token_is_found_by_pieces(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    # Whole numbers: ties within a piece, between pieces and with the last, shorter one.
    logits = torch.randint(-3, 4, (400, vocabulary), generator=generator).float()
    logits[::2] = torch.randn(200, vocabulary, generator=generator)
    logits[1, -1] = logits[3, -vocabulary % 256] = 9.0
    assert torch.equal(most_probable(logits), logits.argmax(dim=1))
