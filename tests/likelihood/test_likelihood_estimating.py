"""What estimates share, how they are batched, and what they say of greedy decoding."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from likelihood_examples import MASK, CountingModel, Masked, exact, real_model, run

from dlm.errors import SettingsError
from dlm.likelihood import Answer, Row, Scorer, design, estimate, llada_counts, windows
from dlm.settings import DreamMasks, LikelihoodSettings, LLaDAMasks, StratifiedMasks

THREE = Answer((1, 2, 0), (3, 1, 5))
SIX = Answer((1, 2, 0), (3, 1, 5, 0, 2, 2))
MIXED = [THREE, Answer((), (2, 2)), Answer((4,), (0,)), Answer((5, 5, 1, 1), (1, 2, 3, 4)), SIX]
RULES = {
    "stratified": StratifiedMasks(),
    "one replicate": StratifiedMasks(replicates=1),
    "llada": LLaDAMasks(batch_size=4),
    "dream": DreamMasks(batch_size=4),
}


def settings(samples: int = 12, **changes: object) -> LikelihoodSettings:
    return LikelihoodSettings(samples=samples, **changes)  # type: ignore[arg-type]


def sampled(length: int, samples: int = 12, seed: int = 0, **changes: object) -> list[tuple[int, ...]]:
    return [masking.masked for masking in design(length, (1, 2), settings(samples, **changes), seed).maskings]


# Maskings


def test_every_masking_of_a_size_is_equally_likely_and_sizes_are_uniform():
    seen = [masked for seed in range(500) for masked in sampled(4, 12, seed)]
    for count in range(1, 5):
        for masked in itertools.combinations(range(4), count):
            share = 1 / 4 / math.comb(4, count)
            # Maskings of one design are not independent: the bound is that of the 500 designs.
            assert abs(seen.count(masked) / len(seen) - share) < 4 * math.sqrt(share * (1 - share) / 500)


def test_a_replicate_takes_every_token_in_turn():
    replicates = math.isqrt(2 * 32)
    chosen = design(10, (1,), settings(32), 3)
    assert chosen.replicates == replicates
    for replicate in range(replicates):
        drawn = [masking.masked for masking in chosen.maskings if masking.replicate == replicate]
        times = [sum(token in masked for masked in drawn) for token in range(10)]
        assert max(times) - min(times) <= 1


@pytest.mark.parametrize("name", RULES)
def test_choices_share_their_maskings_and_others_do_not(name):
    masks = {"masks": RULES[name]}
    assert sampled(9, **masks) == sampled(9, **masks)
    assert sampled(9, **masks) != sampled(9, seed=1, **masks)
    assert design(9, (1, 3), settings(**masks), 0) != design(9, (1, 2), settings(**masks), 0)


def test_lladas_numbers_of_masked_tokens():
    assert [llada_counts(start, 2, 4) for start in (1, 2)] == [[1, 2, 2, 2], [2, 2, 1, 2]]
    for start in range(1, 6):  # a batch size that divides the length: each number equally often
        assert sorted(llada_counts(start, 5, 5)) == [1, 2, 3, 4, 5]
    assert {len(masked) for masked in sampled(7, 40, masks=LLaDAMasks(batch_size=8))} == set(range(1, 8))


def test_dreams_rates_are_spread_over_a_batch():
    chosen = design(2000, (1,), settings(8, masks=DreamMasks(batch_size=8)), 0)
    shares = sorted(len(masking.masked) / 2000 for masking in chosen.maskings)
    assert [math.floor(8 * share) for share in shares] == pytest.approx(range(8), abs=1)
    for masking in chosen.maskings:
        assert 1 / (8 * masking.weight) == pytest.approx(len(masking.masked) / 2000, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples must be at least 1"),
        ({"samples": 10, "masks": LLaDAMasks(batch_size=4)}, "samples 10 is not a multiple of batch_size 4"),
        ({"samples": 3, "masks": DreamMasks(batch_size=4)}, "samples 3 is not a multiple of batch_size 4"),
        ({"samples": 3, "masks": StratifiedMasks(replicates=4)}, "replicates 4 exceed the 3 samples"),
        ({"guidance_scale": -1.0}, "guidance_scale must be at least 0"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        LikelihoodSettings(**changes)


# Estimates


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_batch_size_and_company_change_no_bit(name, batch_size):
    together = run(CountingModel(), MIXED, settings(masks=RULES[name]), batch_size=batch_size)
    for answer, found in zip(MIXED, together, strict=True):
        (alone,) = run(CountingModel(), [answer], settings(masks=RULES[name]), batch_size=3)
        assert (found.loglikelihood, found.stderr) == (alone.loglikelihood, alone.stderr)


def test_an_estimate_is_the_mean_of_its_replicates():
    (found,) = run(CountingModel(), [SIX], settings(10))
    masked, values = Masked(CountingModel(), SIX), [0.0] * 4
    for masking in design(6, SIX.context, settings(10), 0).maskings:
        values[masking.replicate] += masking.weight * math.fsum(masked(masking.masked))
    mean = math.fsum(values) / 4
    assert found.loglikelihood == pytest.approx(mean, abs=1e-6)
    assert found.stderr == pytest.approx(math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 3 / 4), abs=1e-6)


def test_one_replicate_has_no_standard_error():
    assert run(CountingModel(), [SIX], settings(1))[0].stderr is None
    assert run(CountingModel(), [SIX], settings(4, masks=LLaDAMasks(batch_size=4)))[0].stderr is None


def test_a_masking_that_hides_nothing_costs_nothing_and_counts_as_nothing():
    masks = DreamMasks(batch_size=1)
    empty = next(seed for seed in range(500) if sampled(2, 1, seed, masks=masks) == [()])
    (found,) = run(CountingModel(), [Answer((1, 2), (3, 4))], settings(1, masks=masks), seed=empty)
    assert (found.loglikelihood, found.forward_passes) == (0.0, 0)


def test_choices_of_one_token_share_one_pass():
    model = CountingModel()
    found = run(model, [Answer((1, 2), (token,)) for token in range(5)], settings())
    assert model.rows == [[1, 2, MASK]]
    assert sum(one.forward_passes for one in found) == 1
    for token, one in enumerate(found):
        assert one.loglikelihood == pytest.approx(exact(Masked(CountingModel(), Answer((1, 2), (token,)))), abs=1e-6)


def test_rows_that_look_alike_run_once():
    model = CountingModel()
    run(model, [Answer((1, 2), (token, token)) for token in range(5)], settings())
    assert len(model.rows) == 1 + 2 * 5
    assert model.rows.count([1, 2, MASK, MASK]) == 1
    several = CountingModel()
    found = run(several, [SIX, Answer(SIX.context, (*SIX.tokens[:5], 4))], settings(40))
    assert len({tuple(row) for row in several.rows}) == len(several.rows) < 80
    assert sum(one.forward_passes for one in found) == len(several.rows)


def test_batches_go_across_answers_the_longest_first():
    model = CountingModel()
    batches = list(estimate(model, MIXED, settings(), seed=0, batch_size=8))
    assert model.calls == math.ceil(len(model.rows) / 8)
    lengths = [len(row) for row in model.rows]
    assert lengths == sorted(lengths, reverse=True)
    assert next(index for batch in batches for index, _ in batch) == 4


def test_long_answers_fill_a_pass_with_fewer_rows():
    model = CountingModel()
    model.vocab_size = 1 << 26  # room for four masked positions
    run(model, [SIX], settings(12), batch_size=100)
    assert model.calls > 3


def test_guidance_masks_the_prompt_and_no_block_of_the_answer():
    model = CountingModel()
    run(model, [Answer((1, 2), (3, 4, 5))], settings(guidance_scale=1.0), block_size=2, batch_size=1)
    assert [MASK, MASK, 3, 4, MASK] in model.rows
    assert [1, 2, 3, 4, MASK] in model.rows


# Greedy decoding


def decodes(model: CountingModel, answer: Answer) -> bool:
    """LLaDA's check, from its description: the most confident token is committed, one at a time."""
    tokens = [None] * len(answer.tokens)
    while None in tokens:
        open_places = [place for place, token in enumerate(tokens) if token is None]
        best = []
        for place in open_places:
            known = list(enumerate(answer.context)) + [
                (len(answer.context) + other, token) for other, token in enumerate(tokens) if token is not None
            ]
            at = len(answer.context) + place
            logp_V = model.one((where - at, token) for where, token in known).double().log_softmax(0)
            best.append((logp_V.max().item(), place, int(logp_V.argmax())))
        _, place, token = max(best, key=lambda entry: entry[0])
        tokens[place] = token  # type: ignore[call-overload]
    return tuple(tokens) == answer.tokens


EVERY = [Answer((1, 2, 0), tokens) for tokens in itertools.product(range(6), repeat=3)]


@pytest.mark.parametrize("samples", [1, 12])
def test_greedy_by_decoding(samples):
    found = run(CountingModel(), EVERY, settings(samples, greedy="decode"))
    assert [one.greedy for one in found] == [decodes(CountingModel(), answer) for answer in EVERY]
    assert sum(one.greedy for one in found) == 1


def test_greedy_in_one_step():
    model = CountingModel()
    at = [[(place - index - 3, token) for place, token in enumerate((1, 2, 0))] for index in range(3)]
    best = tuple(int(model.one(known).argmax()) for known in at)
    found = run(model, EVERY, settings(greedy="one_step"))
    assert [answer.tokens for answer, one in zip(EVERY, found, strict=True) if one.greedy] == [best]


def test_greedy_is_known_for_one_token_and_not_asked_for_more():
    found = run(CountingModel(), [Answer((4,), (token,)) for token in range(6)], settings())
    best = int(CountingModel().one([(-1, 4)]).argmax())
    assert [one.greedy for one in found] == [token == best for token in range(6)]
    assert not any(one.greedy for one in run(CountingModel(), EVERY, settings(1)))


def test_greedy_of_blocks_asks_each_block():
    model = CountingModel()
    first = int(model.one([(-1, 4)]).argmax())
    second = int(model.one([(-2, 4), (-1, first)]).argmax())
    wrong = [(first, (second + 1) % 6), ((first + 1) % 6, 0)]
    answers = [Answer((4,), tokens) for tokens in ((first, second), *wrong)]
    assert [one.greedy for one in run(model, answers, settings(greedy="decode"), block_size=1)] == [True, False, False]


# Scoring and windows


@pytest.mark.parametrize("block_size", [None, 4])
@pytest.mark.parametrize("kind", ["llama", "shifted"])
def test_rows_of_any_length_share_a_pass(kind, block_size):
    model = real_model(kind)
    rows = [
        Row(tuple(range(4, 4 + before)), (None, 7, None)[:answer], (), before)
        for before, answer in ((9, 3), (1, 1), (4, 3), (8, 1))
    ]
    targets = [[(5,) * row.answer.count(None)] for row in rows]
    together = Scorer(model, 0.5, block_size).score(rows, targets)
    for row, target, (found,) in zip(rows, targets, together, strict=True):
        ((alone,),) = Scorer(model, 0.5, block_size).score([row], [target])
        assert found.logp == pytest.approx(alone.logp, abs=1e-4)
        assert found.best == alone.best


def test_log_probabilities_are_those_of_a_float64_softmax():
    row = Row((1, 2), (None, None), (), 2)
    ((first, second),) = Scorer(CountingModel()).score([row], [[(3, 4), (0, 0)]])
    expected = [CountingModel().one([(-2 - at, 1), (-1 - at, 2)]).double().log_softmax(0) for at in (0, 1)]
    assert first.logp == pytest.approx([expected[0][3].item(), expected[1][4].item()], abs=1e-12)
    assert second.logp == pytest.approx([each[0].item() for each in expected], abs=1e-12)
    assert second.confidence == pytest.approx([each.max().item() for each in expected], abs=1e-12)


def test_windows_cover_a_text_once_each_after_one_token():
    parts = windows(list(range(10, 20)), 1, positions=5)
    cut = [((1,), (10, 11, 12, 13)), ((13,), (14, 15, 16, 17)), ((17,), (18, 19))]
    assert [(part.context, part.tokens) for part in parts] == cut
    (one,) = windows([5, 6], 1, positions=64)
    assert (one.context, one.tokens) == ((1,), (5, 6))
    assert len({part.part for part in (*parts, one)}) == 4


def test_errors_of_texts_add_up():
    """Texts of one length after the same token: the error of their sum is that of independent estimates."""
    texts = [
        windows([first, second, 4, third, 0, 5], 1, 64)[0]
        for first in (2, 3)
        for second in range(6)
        for third in range(3)
    ]
    sums, told = [], []
    for seed in range(60):
        found = run(CountingModel(), texts, settings(8), seed=seed)
        sums.append(sum(one.loglikelihood for one in found))
        told.append(sum((one.stderr or 0) ** 2 for one in found))
    assert 0.75 < statistics.stdev(sums) / statistics.fmean(told) ** 0.5 < 1.3


def test_windows_that_begin_alike_have_maskings_of_their_own():
    first, second = (Answer((1,), SIX.tokens, part=part) for part in (0, 1))
    found = run(CountingModel(), [first, second, first], settings(8))
    assert found[0].loglikelihood == found[2].loglikelihood != found[1].loglikelihood
    assert found[2].forward_passes == 0
