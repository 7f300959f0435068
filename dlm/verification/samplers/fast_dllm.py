"""Fast-dLLM's samplers: NVlabs' own, and those of ZHZisZZ/dllm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dlm.settings import (
    ApproximateCache,
    EvenSelector,
    FactorSelector,
    FloorSelector,
    FullCanvas,
    Proposer,
    SamplerSettings,
    ScheduleSelector,
    ThresholdSelector,
)
from dlm.verification.fields import Malformed, either, flag, nothing, number, one_of, read_fields, whole
from dlm.verification.samplers.dllm import readable
from dlm.verification.samplers.dream import DRAW, DREAM, SCORES, scoring
from dlm.verification.samplers.llada import even
from dlm.verification.samplers.plan import (
    COUNT,
    DLLM,
    DLLM_MDLM,
    TOKENS,
    Account,
    Plan,
    Run,
    answer_rows,
    block_sizes,
    left_padded,
    padded,
    whole_canvas,
)

_MAYBE = either(nothing, number)
_SURE = "confidence_threshold"
_LLADA = {
    "gen_length": COUNT,
    "block_length": COUNT,
    "steps": COUNT,
    "temperature": one_of(0.0),
    "remasking": one_of("low_confidence"),
    "threshold": _MAYBE,
    "mask_id": whole(0),
}
_DLLM_CACHE = one_of(None, "none", "prefix", "dual")


def _nvlabs_llada(cache: str | None, data: Mapping[str, Any]) -> Plan:
    """Read the settings of `llada/generate.py`: one prompt."""
    given = read_fields(data["settings"], _LLADA)
    length, block, threshold = given["gen_length"], given["block_length"], given["threshold"]
    one_of(data["token_ids"]["mask"])(given["mask_id"])
    split = even(given)
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length, block_size=block, cache=_cache(cache)),
        selector=split if threshold is None else ThresholdSelector(threshold=threshold),
    )
    prompts, pad = left_padded(data)
    rows = answer_rows(prompts, given["mask_id"], length, block)
    # A pass is made over what the first one left open, even if that is nothing.
    account = whole_canvas(settings) if cache is None else _cached(settings, least=2)
    return Plan(settings, rows, False, pad, account)


llada = partial(_nvlabs_llada, None)
llada_prefix = partial(_nvlabs_llada, "prefix")
llada_dual = partial(_nvlabs_llada, "dual")


def dllm_llada(data: Mapping[str, Any]) -> Plan:
    """Read the settings of `FastdLLMLLaDASampler`: its network sees the padding behind shorter rows.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    fields = {"suppress_tokens": TOKENS, "begin_suppress_tokens": TOKENS, "use_cache": _DLLM_CACHE}
    known = {**DLLM_MDLM, **fields, "threshold": _MAYBE, "factor": _MAYBE, "cfg_scale": one_of(0.0)}
    given = read_fields(data["settings"], known)
    ids, length, block = data["token_ids"], given["max_new_tokens"], given["block_size"]
    cache = None if given["use_cache"] == "none" else given["use_cache"]
    prompts = readable(data, given)
    longest = max(map(len, prompts))
    if cache and (given["right_shift_logits"] or len({len(prompt) for prompt in prompts}) > 1):
        raise Malformed("settings: use_cache goes with prompts of one length and without right_shift_logits")
    suppressed = (*(given["suppress_tokens"] or ()), *(given["begin_suppress_tokens"] or ()))
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length, block_size=block, cache=_cache(cache)),
        proposer=Proposer(suppress_tokens=suppressed),
        selector=_dllm_selector(given, cache),
    )
    after = [[ids["eos"]] * (longest - len(prompt)) for prompt in prompts]
    rows = answer_rows(prompts, ids["mask"], length, block, after=after)
    per_block = -(-given["steps"] // settings.canvas.blocks)
    rounded = [(size, per_block, given["scheduler"]) for size in block_sizes(length, block)]
    account = _cached(settings, rounded) if cache else whole_canvas(settings, rounded)
    return Plan(settings, rows, given["right_shift_logits"], padded(ids["eos"], left=False), account)


def dream(data: Mapping[str, Any]) -> Plan:
    """Read the settings of `dream/model/generation_utils.py`: Dream's sampler with a threshold.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = _read_dream(data, {})
    length, steps = given["max_new_tokens"], given["steps"]
    selector: FloorSelector | ThresholdSelector = FloorSelector(steps=steps, epsilon=given["eps"])
    if sure := given["alg"] == _SURE:
        if length % steps:
            raise Malformed("settings: steps divides max_new_tokens under confidence_threshold")
        selector = ThresholdSelector(threshold=given["threshold"], quota=EvenSelector(steps=steps))
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length),
        selector=selector,
        **scoring(given, "low_confidence" if sure else SCORES[given["alg"]]),
    )
    prompts, pad = left_padded(data)
    rows = answer_rows(prompts, given["mask_token_id"], length, length)
    return Plan(settings, rows, True, pad, whole_canvas(settings, passes=None if sure else steps))


def dream_block(data: Mapping[str, Any]) -> Plan:
    """Read the settings of `dream/model/generation_utils_block.py`: blocks, and a cache.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    given = _read_dream(data, {"block_length": COUNT, "dual_cache": flag})
    # Whatever the name of the algorithm is, the block version ranks by entropy.
    settings = _dream_blocks(given, given["block_length"], "dual" if given["dual_cache"] else "prefix", "entropy")
    prompts, pad = left_padded(data)
    rows = answer_rows(prompts, given["mask_token_id"], given["max_new_tokens"], given["block_length"])
    return Plan(settings, rows, True, pad, _cached(settings))


def dllm_dream(data: Mapping[str, Any]) -> Plan:
    """Read the settings of ZHZisZZ/dllm's `FastdLLMDreamSampler`.

    Raises:
        Malformed: a setting is missing, unknown or not what it should be.
    """
    fields = {"alg": one_of(*SCORES, _SURE), "threshold": _MAYBE, "use_cache": _DLLM_CACHE, "block_size": COUNT}
    given = read_fields(data["settings"], {**DLLM, **DRAW, **fields})
    ids, length = data["token_ids"], given["max_new_tokens"]
    _need_threshold(given)
    cache = None if given["use_cache"] == "none" else given["use_cache"]
    pad = padded(ids["eos"], left=True)
    if cache:
        settings = _dream_blocks(given, given["block_size"], cache, given["alg"])
        rows = answer_rows(data["input_ids"], ids["mask"], length, given["block_size"])
        return Plan(settings, rows, _shifted(given), pad, _cached(settings, []))
    quota = ScheduleSelector(steps=given["steps"], schedule=given["scheduler"])
    sure = given["alg"] == _SURE
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length),
        selector=ThresholdSelector(threshold=given["threshold"], quota=quota) if sure else quota,
        **scoring(given, "low_confidence" if sure else SCORES[given["alg"]]),
    )
    rows = answer_rows(data["input_ids"], ids["mask"], length, length)
    account = whole_canvas(settings, [(length, given["steps"], given["scheduler"])])
    return Plan(settings, rows, given["right_shift_logits"], pad, account)


def _read_dream(data: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    given = read_fields(data["settings"], {**DREAM, **more, "alg": one_of(*SCORES, _SURE)}, {"threshold": number})
    one_of(data["token_ids"]["mask"])(given["mask_token_id"])
    _need_threshold(given)
    return given


def _need_threshold(given: Mapping[str, Any]) -> None:
    if given["alg"] == _SURE and given["threshold"] is None:
        raise Malformed(f"settings: threshold is needed by {_SURE}")


def _shifted(given: Mapping[str, Any]) -> bool:
    if not given["right_shift_logits"]:
        raise Malformed("settings: use_cache goes with right_shift_logits only")
    return True


def _dllm_selector(given: Mapping[str, Any], cache: str | None) -> Any:
    """The factor counts before the threshold, that before the schedule; the dual cache stops with the schedule."""
    most = given["steps"] if cache == "dual" else None
    if most and given["scheduler"] != "linear" and (given["factor"] or given["threshold"]):
        raise Malformed("settings: the dual cache with factor or threshold goes with the linear schedule")
    if given["factor"] is not None:
        return FactorSelector(factor=given["factor"], most_steps=most)
    if given["threshold"] is not None:
        return ThresholdSelector(threshold=given["threshold"], most_steps=most)
    return ScheduleSelector(steps=given["steps"], schedule=given["scheduler"])


def _dream_blocks(given: Mapping[str, Any], block: int, cache: str, alg: str) -> SamplerSettings:
    length, steps = given["max_new_tokens"], given["steps"]
    if length % block or steps % (length // block):
        raise Malformed("settings: the block length divides max_new_tokens, and the number of blocks divides steps")
    sure = given["alg"] == _SURE
    return SamplerSettings(
        canvas=FullCanvas(max_new_tokens=length, block_size=block, cache=_cache(cache, "first_token")),
        selector=ThresholdSelector(threshold=given["threshold"])
        if sure
        else FloorSelector(steps=steps, epsilon=given["eps"]),
        **scoring(given, "low_confidence" if sure else SCORES[alg]),
    )


def _cache(kind: str | None, first_pass: Any = "select") -> ApproximateCache | None:
    kinds: dict[str, Any] = {"prefix": "approximate_prefix", "dual": "approximate_dual"}
    return ApproximateCache(kind=kinds[kind], first_pass=first_pass) if kind else None


def _cached(
    settings: SamplerSettings, rounded: list[tuple[int, int, str]] | None = None, *, least: int = 1
) -> Callable[[Run], Account]:
    """Return the account of a source that sees the whole canvas in a block's first pass, a part of it in the others.

    Args:
        settings: the sampler's.
        rounded: as of :class:`Account`.
        least: passes that it makes over a block even where they write nothing; Dream's fixed steps are such, too.
    """
    canvas, selector = settings.canvas, settings.selector
    assert isinstance(canvas, FullCanvas) and canvas.cache is not None
    if isinstance(selector, FloorSelector):
        least = selector.per_block(canvas.blocks)

    def account(run: Run) -> Account:
        (rows, width), shapes = run.shape(0), []
        for block, count in run.passes():
            left = canvas.max_new_tokens - block * canvas.block
            part = left if canvas.cache and canvas.cache.kind == "approximate_prefix" else min(left, canvas.block)
            shapes += [[rows, width]] + [[rows, part]] * (max(count, least) - 1)
        return Account(shapes, len(shapes) + 1, rounded)

    return account
