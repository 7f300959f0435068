"""Data that the pipeline prepares: generated problems and mixtures of them, tokenizers, and rows from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import at_least, between, one_of

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}

ROW_FILES = (".jsonl", ".json", ".csv", ".parquet")
"""Files of rows that are read, by how their names end."""

RowFormat = Literal["s1k", "messages", "instruction", "text"]
"""How a row from elsewhere becomes training data."""


@dataclass(frozen=True, kw_only=True)
class WordProblems:
    """Stories about counts of things, solved in one or two additions and subtractions."""

    __pydantic_config__ = _STRICT
    max_number: int = 20
    """Largest number in a story (2 to 99); no intermediate result is below 0 or above 99."""
    operations: int = 2
    """Most additions and subtractions in a story (1 to 3)."""

    def __post_init__(self) -> None:
        between("max_number", self.max_number, 2, 99)
        between("operations", self.operations, 1, 3)


@dataclass(frozen=True, kw_only=True)
class Countdown:
    """Reach a target with every given number used exactly once."""

    __pydantic_config__ = _STRICT
    numbers: int = 3
    """How many numbers are given (2 to 6)."""
    max_number: int = 9
    """Largest given number (2 to 99); the smallest is 1."""
    max_target: int = 99
    """Largest target (>= 1)."""
    operators: str = "+-*/"
    """Operators that the generator uses, of + - * /; an answer may use any of them."""

    def __post_init__(self) -> None:
        between("numbers", self.numbers, 2, 6)
        between("max_number", self.max_number, 2, 99)
        at_least("max_target", self.max_target, 1)
        if not self.operators or set(self.operators) - set("+-*/"):
            raise SettingsError(f"operators must be some of '+-*/', got '{self.operators}'")


@dataclass(frozen=True, kw_only=True)
class Sudoku:
    """4x4 Sudoku: rows, columns and 2x2 boxes hold 1 to 4 once each."""

    __pydantic_config__ = _STRICT
    empty_cells: int = 8
    """Empty cells of a puzzle (1 to 12); every puzzle has one solution."""

    def __post_init__(self) -> None:
        between("empty_cells", self.empty_cells, 1, 12)


@dataclass(frozen=True, kw_only=True)
class NumberChoice:
    """Continue an arithmetic progression: four choices, scored by likelihood."""

    __pydantic_config__ = _STRICT
    max_number: int = 60
    """Largest number of a progression (20 to 99)."""
    max_step: int = 6
    """Largest difference between neighbours (1 to 9)."""

    def __post_init__(self) -> None:
        between("max_number", self.max_number, 20, 99)
        between("max_step", self.max_step, 1, 9)


@dataclass(frozen=True, kw_only=True)
class CodeLines:
    """Write the expression of x that gives the values shown."""

    __pydantic_config__ = _STRICT
    max_factor: int = 9
    """Largest factor of x or of its square (1 to 20); the smallest is 1."""
    max_offset: int = 90
    """Largest number added (0 to 90)."""

    def __post_init__(self) -> None:
        between("max_factor", self.max_factor, 1, 20)
        between("max_offset", self.max_offset, 0, 90)


PROBLEMS = ("word_problems", "countdown", "sudoku", "number_choice", "code_lines")


@dataclass(frozen=True, kw_only=True)
class ProblemSettings:
    """Difficulty of each kind of generated problem."""

    __pydantic_config__ = _STRICT
    word_problems: WordProblems = field(default_factory=WordProblems)
    """Difficulty of the word problems."""
    countdown: Countdown = field(default_factory=Countdown)
    """Difficulty of Countdown."""
    sudoku: Sudoku = field(default_factory=Sudoku)
    """Difficulty of Sudoku."""
    number_choice: NumberChoice = field(default_factory=NumberChoice)
    """Difficulty of the multiple-choice progressions."""
    code_lines: CodeLines = field(default_factory=CodeLines)
    """Difficulty of the lines of code."""


@dataclass(frozen=True, kw_only=True)
class GeneratedMixture:
    """Rows for training, made by the pipeline from train-side problems.

    `text` rows are plain statements for pretraining, `instruct` rows are short chats with direct answers to simple
    requests, `reasoning` rows are chats with a worked solution between reasoning tags, then an answer between answer
    tags.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["mixture"] = "mixture"
    """Discriminator: `mixture`."""
    style: Literal["text", "instruct", "reasoning"]
    """How a problem is rendered."""
    rows: dict[str, int]
    """Training rows of each kind of problem, by its name."""
    held_out: int = 128
    """Further rows, disjoint from the training rows, for the evaluation loss."""
    seed: int = 0
    """Seed of the generator (>= 0)."""

    def __post_init__(self) -> None:
        at_least("held_out", self.held_out, 1)
        at_least("seed", self.seed, 0)
        for name, count in self.rows.items():
            one_of("rows", name, PROBLEMS)
            at_least(f"rows of {name}", count, 0)
        if not sum(self.rows.values()):
            raise SettingsError("rows: the mixture is empty; give at least one kind of problem a count above 0")


@dataclass(frozen=True, kw_only=True)
class GeneratedProblems:
    """Test-side problems of one kind: the documents of a task."""

    __pydantic_config__ = _STRICT
    kind: Literal["problems"] = "problems"
    """Discriminator: `problems`."""
    problem: str
    """Kind of problem."""
    rows: int
    """Number of documents (>= 1)."""
    seed: int = 0
    """Seed of the generator (>= 0)."""

    def __post_init__(self) -> None:
        one_of("problem", self.problem, PROBLEMS)
        at_least("rows", self.rows, 1)
        at_least("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class TokenizerData:
    """A byte-level BPE tokenizer with single-digit numbers, trained on prepared text."""

    __pydantic_config__ = _STRICT
    kind: Literal["tokenizer"] = "tokenizer"
    """Discriminator: `tokenizer`."""
    corpora: tuple[str, ...]
    """Names of the training sets whose text it is trained on."""
    vocab_size: int
    """Number of tokens, special ones included (>= 300)."""
    template: Literal["llada", "chatml"]
    """Special tokens and chat template: those of LLaDA, or ChatML as Dream and Qwen use."""

    def __post_init__(self) -> None:
        at_least("vocab_size", self.vocab_size, 300)
        if not self.corpora:
            raise SettingsError("corpora is empty; name at least one training set")


@dataclass(frozen=True, kw_only=True)
class FixedTestSet:
    """A published test set: a file of a repository at a revision, or a copy of it on this machine."""

    __pydantic_config__ = _STRICT
    kind: Literal["file"] = "file"
    """Discriminator: `file`."""
    problem: Literal["countdown", "sudoku"]
    """Kind of problem in the file."""
    repository: str
    """GitHub repository, `owner/name`."""
    file: str
    """Path of the file inside the repository (.jsonl, .json, .csv or .parquet)."""
    revision: str
    """Commit, tag or branch."""
    path: str | None = None
    """A copy of the file on this machine, used instead of fetching."""
    rows: int | None = None
    """Use the first so many rows; None: all."""

    def __post_init__(self) -> None:
        if self.repository.count("/") != 1:
            raise SettingsError(f"repository must read 'owner/name', got '{self.repository}'")
        if self.rows is not None:
            at_least("rows", self.rows, 1)


@dataclass(frozen=True, kw_only=True)
class HubDataset:
    """A training set of a hub, turned into chats or plain texts, row by row."""

    __pydantic_config__ = _STRICT
    kind: Literal["hub"] = "hub"
    """Discriminator: `hub`."""
    repository: str
    """Hub id, `organisation/name`."""
    revision: str
    """Branch, tag or commit; the commit that it resolves to is recorded in the manifest."""
    config: str | None = None
    """Configuration of the data set; None: its only one."""
    every_config: bool = False
    """True: all its configurations, one after the other in the hub's order."""
    split: str = "train"
    """Split to read."""
    held_out_split: str | None = None
    """Split of its own for the evaluation loss, such as `test`; None: a share of the rows that are read."""
    held_out_share: float = 0.01
    """Share of the rows held out for the evaluation loss (0 to 0.5); does not apply beside held_out_split."""
    format: RowFormat = "s1k"
    """How a row becomes training data. `s1k`: question, first thinking trajectory, attempt, as a chat with tags.
    `messages`: a chat of roles and contents, up to the last turn of the assistant, which is trained. `instruction`:
    columns instruction and output, and input where there is one, a blank line after the instruction. `text`: plain."""
    column: str | None = None
    """Column of the chat or the text; None: `messages` or `text`. Only for these two formats."""
    response_contains: str | None = None
    """Keep the rows whose response contains this text, upper and lower case told apart; None: all. Not for `text`."""
    rows: int | None = None
    """Read the first so many rows of a split (>= 1), before response_contains; None: all."""
    streaming: bool = False
    """True: read over the network as far as `rows` says, for sets too large to fetch whole."""
    seed: int = 42
    """Seed of the held-out split."""

    def __post_init__(self) -> None:
        if self.repository.count("/") != 1:
            raise SettingsError(f"repository must read 'organisation/name', got '{self.repository}'")
        if self.every_config and self.config is not None:
            raise SettingsError(f"config '{self.config}' is one, every_config asks for all; remove one of them")
        if self.streaming and self.rows is None:
            raise SettingsError("streaming reads on for as long as there are rows; say how many with 'rows'")
        _check_rows(self)


@dataclass(frozen=True, kw_only=True)
class OwnRows:
    """A training set of one's own: a file of rows, turned into chats or plain texts as a hub's are."""

    # What it shares with HubDataset is written again: a schema has no descriptions of inherited fields.

    __pydantic_config__ = _STRICT
    kind: Literal["rows"] = "rows"
    """Discriminator: `rows`."""
    path: str
    """The file (.jsonl, .json, .csv or .parquet), from the project's root or from the root of the file system."""
    held_out_path: str | None = None
    """A file of its own for the evaluation loss; None: a share of the rows of path."""
    held_out_share: float = 0.01
    """Share of the rows held out for the evaluation loss (0 to 0.5); does not apply beside held_out_path."""
    format: RowFormat = "messages"
    """How a row becomes training data. `messages`: a chat of roles and contents, up to the last turn of the assistant,
    which is trained. `instruction`: columns instruction and output, and input where there is one, a blank line after
    the instruction. `text`: plain. `s1k`: question, first thinking trajectory, attempt, as a chat with tags."""
    column: str | None = None
    """Column of the chat or the text; None: `messages` or `text`. Only for these two formats."""
    response_contains: str | None = None
    """Keep the rows whose response contains this text, upper and lower case told apart; None: all. Not for `text`."""
    rows: int | None = None
    """Read the first so many rows of a file (>= 1), before response_contains; None: all."""
    seed: int = 42
    """Seed of the held-out share."""

    def __post_init__(self) -> None:
        _check_file("path", self.path)
        if self.held_out_path is not None:
            _check_file("held_out_path", self.held_out_path)
            if PurePath(self.held_out_path) == PurePath(self.path):
                raise SettingsError("held_out_path is the file that is trained on; name another, or leave it out")
        _check_rows(self)


def _check_file(key: str, path: str) -> None:
    """Refuse a file of rows in a format that is not read."""
    if PurePath(path).suffix not in ROW_FILES:
        raise SettingsError(f"{key} must end in {', '.join(ROW_FILES)}, got '{path}'")


def _check_rows(settings: HubDataset | OwnRows) -> None:
    """Refuse what does not go together in a choice of rows."""
    between("held_out_share", settings.held_out_share, 0, 0.5)
    if settings.rows is not None:
        at_least("rows", settings.rows, 1)
    form, contains = settings.format, settings.response_contains
    if settings.column is not None and form not in ("messages", "text"):
        raise SettingsError(f"column does not apply to format '{form}', whose columns are known; remove it")
    if contains is not None and (form == "text" or not contains):
        problem = "is empty" if not contains else "does not apply to plain text, without responses"
        raise SettingsError(f"response_contains {problem}; remove it")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The data of a benchmark, as a hub has it: fetched once, then read by lm-eval's task without a network."""

    __pydantic_config__ = _STRICT
    kind: Literal["benchmark"] = "benchmark"
    """Discriminator: `benchmark`."""
    repository: str
    """Hub id, `organisation/name`: the one that the task names."""
    revision: str
    """Branch, tag or commit; the commit that it resolves to is recorded in the manifest."""
    files: tuple[str, ...] = ()
    """Patterns of the files to fetch, such as `main/*` (`*` stands for any text, `/` included); none: all of them."""
    nltk_data: tuple[str, ...] = ()
    """Packages of NLTK's data that the task's code looks for, such as `tokenizers/punkt_tab`."""
    nltk_revision: str = "gh-pages"
    """Branch, tag or commit of NLTK's repository of data that they are taken from."""

    def __post_init__(self) -> None:
        if self.repository.count("/") != 1:
            raise SettingsError(f"repository must read 'organisation/name', got '{self.repository}'")
        for package in self.nltk_data:
            if not re.fullmatch(r"[a-z_]+/\w+", package):
                raise SettingsError(f"nltk_data must read 'kind/name', such as tokenizers/punkt_tab, got '{package}'")


@dataclass(frozen=True, kw_only=True)
class OwnDocuments:
    """A test set of one's own: a file of rows, each a document with the fields that the task's file names."""

    __pydantic_config__ = _STRICT
    kind: Literal["documents"] = "documents"
    """Discriminator: `documents`."""
    path: str
    """The file (.jsonl, .json, .csv or .parquet), from the project's root or from the root of the file system."""
    rows: int | None = None
    """Use the first so many rows (>= 1); None: all."""

    def __post_init__(self) -> None:
        _check_file("path", self.path)
        if self.rows is not None:
            at_least("rows", self.rows, 1)


TrainingSet = GeneratedMixture | HubDataset | OwnRows
"""Data with rows to train on and rows held out."""

DataSettings = TrainingSet | GeneratedProblems | TokenizerData | FixedTestSet | Benchmark | OwnDocuments


def is_text(data: TrainingSet) -> bool:
    """Return whether a training set holds plain texts, not chats."""
    return data.style == "text" if isinstance(data, GeneratedMixture) else data.format == "text"


def local_files(data: DataSettings) -> dict[str, str]:
    """Return the files on this machine that are read to prepare ``data``, by the keys that name them."""
    return {key: path for key in ("path", "held_out_path") if (path := getattr(data, key, None)) is not None}
