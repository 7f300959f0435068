"""The documents of the project's own tasks, as lm-eval's task files ask for them.

They are read by us instead of `load_dataset("json", …)`, which asks a server for its load counter, copies every file
into a cache and turns texts that look like dates into dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.data import FILES, load_rows
from dlm.data.mixtures import Row
from dlm.errors import DataError
from dlm.files import read_manifest

if TYPE_CHECKING:
    from datasets import DatasetDict


def every_config(*, folder: str | None = None, **_: Any) -> DatasetDict:
    """Load all configurations of a prepared benchmark as one, in the order of their names.

    Raises:
        DataError: no folder is given, or its files are not what its manifest says.
    """
    from datasets import DatasetDict, concatenate_datasets, get_dataset_config_names, load_dataset

    if folder is None:
        raise DataError("the task needs its prepared benchmark: `dataset` in the params")
    read_manifest(folder)
    place = str((Path(folder) / FILES).absolute())
    parts = [load_dataset(place, config) for config in sorted(get_dataset_config_names(place))]
    return DatasetDict({split: concatenate_datasets([part[split] for part in parts]) for split in parts[0]})


def hellaswag_questions(documents: Any) -> Any:
    """Give HellaSwag's documents their `context`: activity and text, without the marks that are left of its source.

    Cleaned as lm-eval's `hellaswag` does, so that the letter form asks about the same text.
    """

    def cleaned(text: str) -> str:
        return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")

    def question(document: dict[str, Any]) -> dict[str, Any]:
        context = f"{document['activity_label']}: {document['ctx_a']} {document['ctx_b'].capitalize()}"
        return {"context": cleaned(context), "endings": [cleaned(ending) for ending in document["endings"]]}

    return documents.map(question)


def load(*, folder: str | None = None, rows: Sequence[Row] | None = None, **_: Any) -> DatasetDict:
    """Load ``<folder>/test.jsonl``, or take ``rows``; lm-eval calls this with the task's metadata and its
    ``dataset_kwargs``.

    Raises:
        DataError: no folder is given, its files are not what its manifest says, or there are no documents.
    """
    return _test(rows if rows is not None else _rows(folder, "test"))


def held_out(*, folder: str | None = None, **_: Any) -> DatasetDict:
    """Load ``<folder>/held_out.jsonl``, the rows of a training set of plain text that are not trained on.

    Raises:
        DataError: as :func:`load`, or the rows are chats.
    """
    rows = _rows(folder, "held_out")
    if any("text" not in row for row in rows):
        raise DataError(f"{folder}: chats; name a training set of plain text")
    return _test(rows)


def _rows(folder: str | None, split: str) -> list[Row]:
    if folder is None:
        raise DataError(
            'the task needs a prepared test set: `dataset` in the params, or --metadata \'{"folder": "DIR"}\''
        )
    rows = load_rows(folder, split)
    if not rows:
        raise DataError(f"{folder}: no {split} documents in it; run `dlm prepare {Path(folder).name}` again")
    return rows


def _test(rows: Sequence[Row]) -> DatasetDict:
    from datasets import Dataset, DatasetDict

    return DatasetDict({"test": Dataset.from_list(list(rows))})
