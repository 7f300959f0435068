"""What is asked of a sampler: prompts and texts with blanks, read into rows of a canvas or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dlm.errors import SettingsError
from dlm.models import Denoiser
from dlm.sampling.state import Row
from dlm.settings import FullCanvas, GrowingCanvas, SamplerSettings

Prompt = str | Sequence[int]


def stream_of(tokens: Sequence[int]) -> int:
    """Return the key of a prompt's random numbers: 63 bits of the sha256 of its token ids."""
    text = ",".join(map(str, tokens)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def refuse_single(prompts: object) -> None:
    """Refuse one text where a list of them belongs: it would be read letter by letter.

    Raises:
        SettingsError: it is one.
    """
    if isinstance(prompts, str | bytes):
        raise SettingsError("prompts is one text; give a list of them, [text]")


def check_stop_texts(stop_texts: Sequence[Sequence[str]], prompts: int) -> None:
    """Refuse stop texts that are not a list for each prompt.

    Raises:
        SettingsError: they are not.
    """
    if isinstance(stop_texts, str) or any(isinstance(texts, str) for texts in stop_texts):
        raise SettingsError("stop_texts holds a list of texts for each prompt, got one text; write [[text], …]")
    if len(stop_texts) != prompts:
        raise SettingsError(f"stop_texts has {len(stop_texts)} lists for {prompts} prompts; give one for each")


def begun(model: Denoiser, settings: SamplerSettings, tokens: Sequence[int]) -> list[int]:
    """Return a prompt with the beginning-of-sequence token before it, where the settings ask for it and none is there.

    Raises:
        SettingsError: the tokenizer has no such token.
    """
    if not settings.begin_token:
        return list(tokens)
    begin = model.tokenizer.bos_token_id
    if begin is None:
        raise SettingsError("begin_token: the tokenizer has no beginning-of-sequence token; remove it")
    return [*([] if tokens and tokens[0] == begin else [begin]), *tokens]


def read_prompt(model: Denoiser, settings: SamplerSettings, index: int, prompt: Prompt) -> Row | str:
    """Return the row of a prompt and its answer, or what is wrong with the prompt."""
    canvas, tokens = settings.canvas, begun(model, settings, _encode(model, prompt))
    answer, mask = canvas.max_new_tokens, model.mask_token_id
    room = model.max_positions - answer
    if not tokens:
        return f"prompt {index} is empty; give it at least one token"
    if room < 1:
        return (
            f"prompt {index} has no room beside max_new_tokens {answer}, since the model has {model.max_positions} "
            "positions; lower max_new_tokens"
        )
    if len(tokens) > room:
        return (
            f"prompt {index} has {len(tokens)} tokens; with max_new_tokens {answer} "
            f"the model's {model.max_positions} positions leave room for {room}"
        )
    if problem := _out_of_vocabulary(model, tokens):
        return f"prompt {index} {problem}"
    if mask in tokens:
        return f"prompt {index} holds the mask token (id {mask}) at {tokens.index(mask)}; blanks are filled by infill"
    start, full = len(tokens), isinstance(canvas, FullCanvas)
    return Row(
        tokens=tokens + [mask] * answer if full else tokens,
        open=range(start, start + answer) if full else (),
        start=start,
        length=answer,
        block=canvas.block,
        stream=stream_of(tokens),
        index=index,
    )


def read_text(model: Denoiser, settings: SamplerSettings, index: int, text: Prompt) -> Row | str:
    """Return the row of a text with blanks, or what is wrong with it.

    Raises:
        SettingsError: the settings are not for texts with blanks.
    """
    if isinstance(settings.canvas, GrowingCanvas):
        raise SettingsError(
            "infill needs a canvas of kind 'full'; a growing one (block diffusion) knows nothing of what follows a "
            "blank; choose another method, such as the preset 'mdlm'"
        )
    for name in ("stop", "begin_token"):
        if getattr(settings, name):
            raise SettingsError(f"{name} does not apply to infill, whose texts have a beginning and an end; remove it")
    tokens = _encode(model, text)
    if len(tokens) > model.max_positions:
        return f"prompt {index} has {len(tokens)} tokens; the model has {model.max_positions} positions"
    if problem := _out_of_vocabulary(model, tokens):
        return f"prompt {index} {problem}"
    blanks = [place for place, token in enumerate(tokens) if token == model.mask_token_id]
    if not blanks:
        return f"prompt {index} holds no blank; put the mask token (id {model.mask_token_id}) where one is"
    block = settings.canvas.block_size or len(tokens)
    return Row(
        tokens, blanks, start=0, length=len(tokens), block=block, stream=stream_of(tokens), index=index, infilled=True
    )


def _encode(model: Denoiser, prompt: Prompt) -> list[int]:
    if isinstance(prompt, str):
        # verbose: the tokenizer has its own words for texts that are too long, beside the error of this module.
        return list(model.tokenizer.encode(prompt, add_special_tokens=False, verbose=False))
    tokens = list(prompt)
    if not all(isinstance(token, int) for token in tokens):
        wrong = next(token for token in tokens if not isinstance(token, int))
        raise SettingsError(
            f"a prompt is a text or a list of token ids, got a list that holds {wrong!r}; a conversation becomes a "
            "text by the tokenizer's apply_chat_template"
        )
    return tokens


def _out_of_vocabulary(model: Denoiser, tokens: Sequence[int]) -> str:
    bad = [token for token in tokens if not 0 <= token < model.vocab_size]
    return f"holds token id {bad[0]}; ids go from 0 to {model.vocab_size - 1}" if bad else ""
