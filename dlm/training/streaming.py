"""Examples that are made when they are asked for: of the rows only their places are kept in memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dlm.settings import Recipe
from dlm.training.examples import (
    Example,
    refuse_none,
    refuse_responses_of_texts,
    refuse_short_texts,
    row_sequences,
    tell_dropped,
    text_tokens,
)

_TOGETHER = 1000  # rows that are encoded at once: few enough to be in memory, many enough to be fast


class StreamedExamples(Sequence[Example]):
    """The examples of :func:`dlm.training.examples.encode_rows`, the same ones by the same numbers, each made anew.

    One pass over the rows finds which fit, and where the pieces of texts begin. It costs what encoding costs, once.

    Args:
        rows: prepared rows that can be read in any order, such as :class:`dlm.data.LazyRows`.
        tokenizer, recipe: as for ``encode_rows``, whose errors are raised here.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], tokenizer: Any, recipe: Recipe) -> None:
        self.rows, self.tokenizer, self.recipe = rows, tokenizer, recipe
        refuse_none(len(rows))
        self.texts = "text" in rows[0]
        self.joined = self.texts and not recipe.packing
        self.lengths = array("q")
        """Tokens of each example."""
        self._row, self._offset = array("q"), array("q")  # where each example begins
        if self.texts:
            refuse_responses_of_texts(recipe)
        if self.joined:
            self._find_pieces()
        else:
            self._find_rows()

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        row, offset = self._row[number], self._offset[number]
        number = number % len(self)
        if not self.joined:
            tokens, prompt = self._sequences(row, row + 1)[0][offset]
            return Example(number, tuple(tokens), prompt)
        piece: list[int] = []
        while len(piece) < self.recipe.max_length:
            piece += self._texts(row, row + 1)[0][offset:]
            row, offset = row + 1, 0
        return Example(number, tuple(piece[: self.recipe.max_length]), 0)

    def _sequences(self, begin: int, end: int) -> list[list[tuple[list[int], int]]]:
        rows = [self.rows[row] for row in range(begin, end)]
        return row_sequences(rows, self.tokenizer, self.recipe, texts=self.texts)

    def _texts(self, begin: int, end: int) -> list[list[int]]:
        return text_tokens([self.rows[row] for row in range(begin, end)], self.tokenizer)

    def _one_by_one(self, encode: Callable[[int, int], list[Any]]) -> Iterator[tuple[int, Any]]:
        """Yield each row's number and what ``encode`` returns for it."""
        for begin in range(0, len(self.rows), _TOGETHER):
            end = min(begin + _TOGETHER, len(self.rows))
            yield from enumerate(encode(begin, end), begin)

    def _find_rows(self) -> None:
        dropped = 0
        for row, sequences in self._one_by_one(self._sequences):
            dropped += not sequences
            for offset, (tokens, _) in enumerate(sequences):
                self._row.append(row)
                self._offset.append(offset)
                self.lengths.append(len(tokens))
        tell_dropped(len(self.rows), dropped, self.recipe)

    def _find_pieces(self) -> None:
        length, passed = self.recipe.max_length, 0
        starts: list[tuple[int, int]] = []
        for row, tokens in self._one_by_one(self._texts):
            first = -passed % length  # the next multiple of the length, counted from this row's beginning
            starts += [(row, begin) for begin in range(first, len(tokens), length)]
            passed += len(tokens)
        refuse_short_texts(len(self.rows), passed, self.recipe)
        for row, begin in starts[: passed // length]:
            self._row.append(row)
            self._offset.append(begin)
            self.lengths.append(length)
