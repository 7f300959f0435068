"""What lm-eval asks of a model, without lm-eval's types: one value a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dlm.files import digest

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request: an answer to sample, or a continuation whose likelihood is asked."""

    task: str
    """lm-eval's name of the task; of the member, where the task is a group."""
    doc_id: str | int
    """The document's `id`, or its position where it has none."""
    position: int
    """Index of the document in the test set."""
    index: int
    """Which of the document's requests this is: the choice, for multiple-choice tasks."""
    repeat: int
    """Which repeat of the same request, from 0."""
    prompt: str
    """The rendered prompt, response prefix excluded."""
    continuation: str | None = None
    """The text whose likelihood is asked; None: an answer is sampled."""
    rolling: bool = False
    """The continuation is a whole text, with nothing before it, of any length (perplexity)."""
    until: tuple[str, ...] = ()
    """Stop texts: a sampled answer is cut at the first of them, and sampling may end there."""

    @property
    def kind(self) -> Literal["generate", "likelihood"]:
        """What is asked for."""
        return "generate" if self.continuation is None else "likelihood"

    @property
    def where(self) -> str:
        """Task and document, for messages."""
        return f"task '{self.task}', document '{self.doc_id}'"

    def fingerprint(self, asked: str) -> str:
        """Return the *what* fingerprint; ``asked`` is the digest of all that the cell's requests have in common."""
        return fingerprint(asked, self.prompt, self.continuation, self.repeat, self.until)


def fingerprint(asked: str, prompt: str, continuation: str | None, repeat: int, until: Sequence[str] = ()) -> str:
    """Digest everything that is meant to change the outcome of a request.

    Stop texts are part of it, where there are any: what follows them may not have been sampled.
    """
    content = {"asked": asked, "prompt": prompt, "continuation": continuation, "repeat": repeat}
    return digest({**content, "until": list(until)} if until else content)


def requests_of(instances: Sequence[Instance]) -> list[Request]:
    """Read lm-eval's instances; copies of the same one are repeats, numbered in their order."""
    seen: Counter[int] = Counter()
    found = []
    for instance in instances:
        found.append(_request(instance, seen[id(instance)]))
        seen[id(instance)] += 1
    return found


def _request(instance: Instance, repeat: int) -> Request:
    rolling = instance.request_type == "loglikelihood_rolling"
    prompt, second = ("", *instance.args) if rolling else instance.args
    generating = isinstance(second, dict)
    return Request(
        task=str(instance.task_name),
        doc_id=document_id(instance.doc, instance.doc_id),
        position=int(instance.doc_id or 0),
        index=instance.idx,
        repeat=repeat,
        prompt=prompt,
        continuation=None if generating else second,
        rolling=rolling,
        until=_texts(second.get("until")) if generating else (),
    )


def document_id(doc: Any, index: int | None) -> str | int:
    """Return the `id` field of a document, or its index in the test set."""
    own = doc.get("id") if isinstance(doc, dict) else None
    return own if isinstance(own, str | int) else int(index or 0)


def _texts(until: str | Iterable[str] | None) -> tuple[str, ...]:
    return (until,) if isinstance(until, str) else tuple(until or ())


def cut(answer: str, prefix: str, until: Iterable[str]) -> str:
    """Cut ``answer`` at the first of the ``until`` texts that appears in it after its ``prefix``."""
    ends = [answer.find(text, len(prefix)) for text in until if text]
    return answer[: min((end for end in ends if end >= 0), default=len(answer))]


def stream_of(*parts: Any) -> int:
    """Return the key of a request's random numbers, from 0 to 2**60 - 1: a function of its own content only."""
    return int(digest(parts)[:15], 16)
