"""Estimates of many answers at once: what they have in common is computed once, and what is alike runs together.

Answers of equal length after one context are a group and see the same maskings, so those of their rows that look alike
where they are visible (all that are wholly masked do) are one row. Rows run in batches across groups, the longest
first.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dlm.likelihood.answers import Answer, Piece, pieces_of
from dlm.likelihood.maskings import Design, design
from dlm.likelihood.scoring import LikelihoodModel, Row, Scored, Scorer
from dlm.settings import LikelihoodSettings

_LOGITS = 1 << 28
"""Logits of a pass at most (1 GiB of float32); a batch of long answers is cut to it, to one row at least."""


@dataclass(frozen=True)
class Estimate:
    """An estimated log-likelihood, in nats for the whole answer."""

    loglikelihood: float
    stderr: float | None
    """Monte-Carlo standard error, from independent replicates; 0 for an exact value, None for a single replicate."""
    greedy: bool
    """Whether greedy decoding gives the answer; False, too, where that was not asked (:class:`LikelihoodSettings`)."""
    forward_passes: int
    """Rows that were run through the model; a row that several answers share counts for the first."""
    seconds: float
    """Its share of the seconds of the batches that it took part in."""


@dataclass
class _Tally:
    """What is known so far of one piece of one answer."""

    index: int
    """Which answer."""
    piece: Piece
    design: Design
    scored: dict[tuple[int, ...], Scored] = field(default_factory=dict)
    """By the masked tokens' indices."""
    passes: int = 0
    seconds: float = 0.0

    @property
    def missing(self) -> frozenset[tuple[int, ...]]:
        """The design's maskings that are still to be run."""
        return self.design.masked - self.scored.keys()

    def wanted(self, greedy: str) -> list[tuple[int, ...]]:
        """Return the maskings that are still to be run: those of the design first, then the greedy decoder's next."""
        if missing := self.missing:
            return sorted(missing)
        if greedy == "none":
            return []
        masked = self._decoded() if greedy == "decode" else self._all
        return [masked] if masked and masked not in self.scored else []

    def greedy(self, how: str) -> bool:
        """Return whether greedy decoding gives the piece."""
        if how == "decode":
            return not self._decoded()
        first = self.scored.get(self._all)
        return (how == "one_step" or len(self._all) == 1) and first is not None and all(first.best)

    @property
    def _all(self) -> tuple[int, ...]:
        return tuple(range(len(self.piece.tokens)))

    def _decoded(self) -> tuple[int, ...]:
        """Return what is still masked when the greedy decoder goes wrong, or gets to a masking that is not run yet.

        While it commits the answer's own tokens, the most confident first, it sees the answer under maskings.
        """
        masked = self._all
        while masked in self.scored:
            scored = self.scored[masked]
            place = max(range(len(masked)), key=scored.confidence.__getitem__)
            if not scored.best[place]:
                break
            masked = masked[:place] + masked[place + 1 :]
        return masked

    def estimate(self, greedy: str) -> Estimate:
        """Return the piece's estimate, once nothing is wanted any more."""
        terms: list[list[float]] = [[] for _ in range(self.design.replicates)]
        for masking in self.design.maskings:
            if masking.masked:
                terms[masking.replicate].append(masking.weight * math.fsum(self.scored[masking.masked].logp))
        values = [math.fsum(each) for each in terms]
        return Estimate(
            loglikelihood=math.fsum(values) / len(values),
            stderr=0.0 if self.design.exact else _stderr(values),
            greedy=self.greedy(greedy),
            forward_passes=self.passes,
            seconds=self.seconds,
        )


@dataclass
class _Waiting:
    """A row that is to be run, and those who ask for it."""

    row: Row
    asking: list[_Tally]


def estimate(
    model: LikelihoodModel,
    answers: Sequence[Answer],
    settings: LikelihoodSettings,
    *,
    seed: int,
    batch_size: int,
    block_size: int | None = None,
) -> Iterator[list[tuple[int, Estimate]]]:
    """Estimate the log-likelihood of each answer after its context.

    Answers of one token need no sampling: one pass is exact, and choices after one context share it.

    Args:
        model: the denoiser.
        answers: with at least one token each; of block diffusion, with at least one token of context.
        settings: the maskings, guidance, and the greedy check.
        seed: of all maskings.
        batch_size: rows of a forward pass; does not change the maskings.
        block_size: tokens of a block, for models trained by block diffusion; None for all others.

    Yields:
        After each forward pass, the (index, estimate) of the answers that it completed; the longest come first.
    """
    work = _Work(Scorer(model, settings.guidance_scale, block_size), answers, settings, seed, batch_size)
    return work.run()


class _Work:
    def __init__(
        self, scorer: Scorer, answers: Sequence[Answer], settings: LikelihoodSettings, seed: int, batch_size: int
    ) -> None:
        self.scorer, self.settings, self.seed, self.batch_size = scorer, settings, seed, batch_size
        pieces = [
            (index, piece) for index, answer in enumerate(answers) for piece in pieces_of(answer, scorer.block_size)
        ]
        self.pieces = Counter(index for index, _ in pieces)
        self.parts: list[list[Estimate]] = [[] for _ in answers]
        self.complete: list[tuple[int, Estimate]] = []
        self.queue: deque[_Waiting] = deque()
        pieces.sort(key=lambda entry: (-entry[1].length, _kinship(entry[1]), entry[1].tokens, entry[0]))
        self.groups = itertools.groupby(pieces, key=lambda entry: _kinship(entry[1]))

    def run(self) -> Iterator[list[tuple[int, Estimate]]]:
        while self._fill():
            self._pass(self._batch())
            if self.complete:
                yield self.complete
                self.complete = []
        if self.complete:  # what needed no pass
            yield self.complete

    def _fill(self) -> bool:
        """Open groups until there are rows for a pass; return whether there is one at all."""
        while len(self.queue) < self.batch_size and (group := next(self.groups, None)) is not None:
            self._open(list(group[1]))
        return bool(self.queue)

    def _open(self, pieces: Sequence[tuple[int, Piece]]) -> None:
        first = pieces[0][1]
        chosen = design(len(first.tokens), first.before, self.settings, self.seed, part=first.part)
        self._ask([_Tally(index, piece, chosen) for index, piece in pieces])

    def _ask(self, tallies: Sequence[_Tally]) -> None:
        """Queue what tallies of one group want, once where they want the same; close those that want nothing."""
        rows: dict[Row, list[_Tally]] = {}
        for tally in tallies:
            wanted = tally.wanted(self.settings.greedy)
            for masked in wanted:
                rows.setdefault(_row(tally.piece, masked), []).append(tally)
            if not wanted:
                self._close(tally)
        self.queue.extend(_Waiting(row, asking) for row, asking in rows.items())

    def _batch(self) -> list[_Waiting]:
        room = _LOGITS // self.scorer.model.vocab_size
        batch: list[_Waiting] = []
        while self.queue and len(batch) < self.batch_size:
            room -= len(self.queue[0].row.masked)
            if batch and room < 0:
                break
            batch.append(self.queue.popleft())
        return batch

    def _pass(self, batch: Sequence[_Waiting]) -> None:
        """Run one forward pass, hand out what it says, and ask for what that calls for."""
        began = time.perf_counter()
        targets = [[_targets(tally.piece, each.row) for tally in each.asking] for each in batch]
        found = self.scorer.score([each.row for each in batch], targets)
        seconds = (time.perf_counter() - began) / len(batch)
        asked: dict[int, _Tally] = {}
        for each, results in zip(batch, found, strict=True):
            each.asking[0].passes += 1
            for tally, scored in zip(each.asking, results, strict=True):
                tally.scored[each.row.masked] = scored
                tally.seconds += seconds / len(each.asking)
                asked[id(tally)] = tally
        # Rows that are queued already are not queued again: only a tally with all of its design's maskings goes on.
        ready = [tally for tally in asked.values() if not tally.missing]
        for _, kin in itertools.groupby(ready, key=lambda tally: _kinship(tally.piece)):
            self._ask(list(kin))

    def _close(self, tally: _Tally) -> None:
        parts = self.parts[tally.index]
        parts.append(tally.estimate(self.settings.greedy))
        if len(parts) == self.pieces[tally.index]:
            self.complete.append((tally.index, combine(parts)))
            parts.clear()


def combine(estimates: Sequence[Estimate]) -> Estimate:
    """Return the estimate of a whole from those of its parts, which are independent: their variances add up."""
    errors = [part.stderr for part in estimates]
    known = [error for error in errors if error is not None]
    return Estimate(
        loglikelihood=math.fsum(part.loglikelihood for part in estimates),
        stderr=math.hypot(*known) if len(known) == len(errors) else None,
        greedy=all(part.greedy for part in estimates),
        forward_passes=sum(part.forward_passes for part in estimates),
        seconds=math.fsum(part.seconds for part in estimates),
    )


def _stderr(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of independent values; None for a single one."""
    if len(values) == 1:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def _kinship(piece: Piece) -> tuple[int, tuple[int, ...], tuple[int, ...], int, int]:
    """Return what pieces of a group have in common."""
    return len(piece.tokens), piece.before, piece.after, piece.prompt, piece.part


def _row(piece: Piece, masked: tuple[int, ...]) -> Row:
    hidden = set(masked)
    answer = tuple(None if place in hidden else token for place, token in enumerate(piece.tokens))
    return Row(piece.before, answer, piece.after, piece.prompt)


def _targets(piece: Piece, row: Row) -> list[int]:
    return [token for token, shown in zip(piece.tokens, row.answer, strict=True) if shown is None]
