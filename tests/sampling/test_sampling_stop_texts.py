"""Stop texts end sampling early and never change what is cut off before them: every preset, in company and alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
from doubles import small_denoiser
from tokenizers import decoders

from dlm.errors import SettingsError
from dlm.models import Denoiser
from dlm.sampling import Sample, Sampler, first_stop, tokens_before
from dlm.sampling.stopping import Endings
from dlm.settings import PRESETS, SamplerSettings, preset

PROMPTS = [[4, 5, 6], [7], [8, 9, 10, 11, 12, 13, 14], [5, 5], [20, 4, 9, 9, 6], [6] * 11]
STREAMS = list(range(50, 56))


@functools.cache
def model(shifted: bool) -> Denoiser:
    """Its tokens are letters, whose text is appended with a blank between them."""
    made = small_denoiser("qwen2", shift=True) if shifted else small_denoiser(sharpness=1.0)
    made.tokenizer.backend_tokenizer.decoder = decoders.WordPiece()
    return made


def small(name: str) -> SamplerSettings:
    """A preset with warm answers of 16 tokens, in blocks of 4; `mdlm` and `remdm` are one block."""
    changes: dict[str, Any] = {"threshold": 0.5} if "threshold" in PRESETS[name] else {}
    blocks = {} if name in ("mdlm", "remdm") else {"block_size": 4}
    return preset(name, max_new_tokens=16, temperature=0.8, **changes, **blocks)


def sampled(settings: SamplerSettings, stops: Sequence[Sequence[str]] | None = None, **options: Any) -> list[Sample]:
    sampler = Sampler(model(settings.score_of == "proposer"), settings, seed=3, **options)
    return sampler.sample(PROMPTS, streams=STREAMS, stop_texts=stops)


def passes(samples: Sequence[Sample]) -> int:
    return sum(sample.forward_passes for sample in samples)


@pytest.mark.parametrize("name", PRESETS)
def test_final_answers_are_those_of_sampling_to_the_end(name: str) -> None:
    settings = small(name)
    whole = sampled(settings)
    # A piece of each answer, and a text that begins before it and never comes.
    stops = [[sample.text[4:7], sample.text[2:8] + "!"] for sample in whole]
    for options in ({"batch_size": 4}, {"batch_size": 6, "keep_finished": True}):
        early = sampled(settings, stops, **options)
        for one, other, texts in zip(whole, early, stops, strict=True):
            assert one.text[: first_stop(one.text, texts)] == other.text[: first_stop(other.text, texts)]
            assert other.tokens == one.tokens[: len(other.tokens)] and other.stopped
            assert other.forward_passes <= one.forward_passes
        if name != "remdm":
            assert passes(early) < passes(whole)


def test_a_stop_text_that_does_not_come_changes_nothing() -> None:
    settings = small("llada")
    whole, early = sampled(settings), sampled(settings, [["?", ""]] * 6)
    assert [(one.tokens, one.forward_passes) for one in early] == [(one.tokens, one.forward_passes) for one in whole]


def test_each_prompt_has_a_list_of_stop_texts() -> None:
    with pytest.raises(SettingsError, match="a list of texts for each prompt, got one text"):
        sampled(small("llada"), ["a"] * 6)
    with pytest.raises(SettingsError, match="stop_texts has 1 lists for 6 prompts"):
        sampled(small("llada"), [["a"]])


def test_what_may_be_taken_back_ends_nothing() -> None:
    """One block of ReMDM: any of its tokens may be opened again until it ends."""
    settings = small("remdm")
    whole = sampled(settings)
    early = sampled(settings, [[sample.text[:1]] for sample in whole])
    assert [(one.tokens, one.forward_passes) for one in early] == [(one.tokens, one.forward_passes) for one in whole]
    blocks = preset("remdm", max_new_tokens=16, block_size=4, temperature=0.8)
    whole = sampled(blocks)
    early = sampled(blocks, [[sample.text[:1]] for sample in whole])
    assert all(len(one.tokens) == 4 and other.tokens[:4] == one.tokens for one, other in zip(early, whole, strict=True))
    assert 3 * passes(early) < passes(whole)


def test_text_that_more_tokens_may_change_ends_nothing() -> None:
    """A decoder of which it is not known that it appends."""
    settings = small("llada")
    whole = sampled(settings)
    tokenizer = model(False).tokenizer.backend_tokenizer
    tokenizer.decoder = decoders.Fuse()
    try:
        assert passes(sampled(settings, [["a", "b", "c"]] * 6)) == passes(whole)
    finally:
        tokenizer.decoder = decoders.WordPiece()


def is_cut(text: str, *stops: str) -> bool:
    tokens = model(False).tokenizer.encode(text)
    return Endings(model(False), frozenset({0}), {0: stops})._is_cut(tokens, stops)


def test_when_an_answer_is_settled() -> None:
    assert is_cut("a b c", "b")
    assert not is_cut("a b c", "d")
    assert not is_cut("a b c", "b", "a b c d"), "the longer one may still come, and begins before"
    assert is_cut("a b c", "b", "c d"), "whatever comes begins behind"
    assert is_cut("a b c <|endoftext|>", "b", "a b c d"), "nothing more comes"


def test_tokens_before_a_stop_text() -> None:
    tokenizer = model(False).tokenizer
    tokens = tokenizer.encode("a b c d")
    assert [tokens_before(tokenizer, tokens, stops) for stops in ([" c"], ["c"], ["a"], ["?"], [])] == [2, 3, 0, 4, 4]
