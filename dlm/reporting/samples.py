"""A sample of a cell's answers, right and wrong, token by token where the order of decoding was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlm.errors import CheckpointError
from dlm.inspection import Answer, Row, answers_of
from dlm.inspection.answers import record_of
from dlm.watching import Speller, pieces


@dataclass(frozen=True)
class Token:
    """One token of an answer."""

    text: str
    step: int
    """Forward pass that committed it, from 1; 0: none did."""
    share: float
    """The same from 0, the first, to 1, the last."""
    confidence: float | None
    """The model's probability of it then."""
    is_text: bool
    """False of the end of text and the like."""

    @property
    def shown(self) -> str:
        """What stands for it, line breaks as signs."""
        return self.text.replace("\n", "↵") if self.is_text else "·"

    @property
    def breaks(self) -> str:
        """The line breaks, behind what tells of the token."""
        return "\n" * self.text.count("\n") if self.is_text else ""


@dataclass(frozen=True)
class Shown:
    """One answer of a cell."""

    answer: Answer
    mark: str
    """`right`, `wrong`, or how much of it."""
    tokens: tuple[Token, ...]
    """Empty where the order was not recorded."""
    passes: int
    begun: str
    """What the answer was made to begin with."""

    @property
    def prompt(self) -> str:
        """What was asked, without that beginning."""
        return self.answer.prompt.removesuffix(self.begun)


def sample(row: Row, each: int) -> list[Shown]:
    """Return the first answers of a row that count wholly, then the first that do not; ``each``: of both kinds.

    Of a loss, the documents that are predicted best and worst.
    """
    answers = answers_of(row)
    if row.cell.kind.loss:
        ordered = sorted(answers, key=lambda answer: answer.share)
        chosen = ordered[:each] + ordered[max(each, len(ordered) - each) :]
    else:
        chosen = [answer for answer in answers if answer.share == 1][:each]
        chosen += [answer for answer in answers if answer.share < 1][:each]
    return [_shown(row, answer) for answer in chosen]


def _shown(row: Row, answer: Answer) -> Shown:
    found = record_of(row, answer)
    if found is None or "token_ids" not in found.record:
        return Shown(answer, mark_of(row, answer), (), 0, "")
    try:
        speller = Speller.of_folder(row.layout.folder("checkpoints", row.checkpoint))
    except CheckpointError:  # the tokenizer is no longer here; the text is
        return Shown(answer, mark_of(row, answer), (), 0, "")
    tokens = _tokens(found.record, speller)
    sampled = "".join(token.text for token in tokens if token.is_text)
    begun = found.record["response"].removesuffix(sampled) if found.record["response"].endswith(sampled) else ""
    return Shown(answer, mark_of(row, answer), tokens, found.record["forward_passes"], begun)


def _tokens(record: Mapping[str, Any], speller: Speller) -> tuple[Token, ...]:
    """Return the tokens up to the first that ends the text, and that one."""
    ids, steps = record["token_ids"], record["steps"]
    end = next((place + 1 for place, token in enumerate(ids) if token in speller.special), len(ids))
    last = max(record["forward_passes"] - 1, 1)
    texts: Sequence[str | None] = pieces(speller, ids[:end])
    return tuple(
        Token(str(text), step + 1, max(step, 0) / last, confidence, token not in speller.special)
        for text, step, confidence, token in zip(texts, steps, record["confidences"], ids[:end], strict=False)
    )


def mark_of(row: Row, answer: Answer) -> str:
    """Say, in a word or two, what an answer counted."""
    if row.cell.kind.loss:
        return f"{answer.share:.3f} a {row.cell.kind.each}"
    return {1.0: "right", 0.0: "wrong"}.get(answer.share, f"{100 * answer.share:.0f} % right")
