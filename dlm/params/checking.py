"""The checks of a params file that need more than one of its entries, or more than the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dlm.errors import did_you_mean
from dlm.params.builder import build
from dlm.params.figures import published_names
from dlm.params.reader import NAME, Document, PathKey, read_document
from dlm.params.revisions import pinned, read_revisions
from dlm.params.schema import Params, is_causal, root_architecture
from dlm.params.task_files import LOCAL, own_tasks
from dlm.settings import (
    Benchmark,
    ConvertedCheckpoint,
    DataSettings,
    FixedTestSet,
    FolderCheckpoint,
    ForeignCheckpoint,
    GeneratedProblems,
    OwnDocuments,
    Scratch,
    Table,
    TableRow,
    Task,
    TokenizerData,
    TrainedCheckpoint,
    TrainingSet,
)
from dlm.settings.data import is_text, local_files
from dlm.settings.evaluation import listed

_ANSWERED_BY = {"generate": "sampler", "likelihood": "likelihood"}
"""By a task's output: the key that names what answers it; the entries stand under its plural."""
_NO_TRAINING_SET = "is not a training set; name data of kind 'mixture', 'hub' or 'rows'"


def load_params(scale: str, root: str | Path = ".", *, pins: bool = True) -> Params:
    """Read and check ``<root>/params/<scale>.yaml``; revisions that are pinned are their commits, unless not ``pins``.

    Raises:
        SettingsError: one line that names file, line, key and remedy.
    """
    document = read_document(Path(root) / "params", scale)
    params = build(document, Params)
    _Checker(document, params, Path(root)).run()
    return pinned(params, read_revisions(Path(root) / "params")) if pins else params


class _Checker:
    """Checks across entries: references, lengths that must fit, settings that a task needs or forbids."""

    def __init__(self, document: Document, params: Params, root: Path) -> None:
        self.document, self.params, self.root = document, params, root

    def run(self) -> None:
        for section in ("data", "recipes", "checkpoints", "samplers", "likelihoods", "tasks", "tables"):
            self.names(section)
        for name, data in self.params.data.items():
            self.data(name, data)
        for name in self.params.checkpoints:
            self.checkpoint(name)
        for name in self.params.tasks:
            self.task(name)
        for name in self.params.tables:
            self.table(name)
        self.planning()

    def planning(self) -> None:
        """Refuse sizes of what there is not."""
        sections = {"networks": "checkpoints", "tasks": "tasks", "data": "data", "tokens_per_pass": "samplers"}
        for section, entries in sections.items():
            for name in getattr(self.params.planning, section):
                self.known(("planning", section, name), name, getattr(self.params, entries), entries.rstrip("s"))

    def names(self, section: str) -> None:
        """Refuse names that cannot stand in a path, a rule of Snakemake or a command."""
        for name in getattr(self.params, section):
            if not NAME.fullmatch(name):
                problem = "not a name; begin with a letter or a digit, go on with those and '_', '-', '.'"
                raise self.document.error((section, name), problem)

    def known(self, path: PathKey, name: str, entries: Mapping[str, object], what: str) -> None:
        if name not in entries:
            raise self.document.error(path, f"no {what} is named '{name}'; {did_you_mean(name, entries)}")

    def data(self, name: str, data: DataSettings) -> None:
        for key, file in local_files(data).items():
            if not (self.root / file).is_file():
                more = ""
                if isinstance(data, FixedTestSet):
                    more = f", or remove it, so that the file is fetched from {data.repository}"
                raise self.document.error(("data", name, key), f"no such file: {file}; correct it{more}")
        if not isinstance(data, TokenizerData):
            return
        for index, corpus in enumerate(data.corpora):
            path = ("data", name, "corpora", index)
            self.known(path, corpus, self.params.data, "data")
            if not isinstance(self.params.data[corpus], TrainingSet):
                raise self.document.error(path, f"'{corpus}' {_NO_TRAINING_SET}")

    def checkpoint(self, name: str) -> None:
        entry, path = self.params.checkpoints[name], ("checkpoints", name)
        if isinstance(entry, FolderCheckpoint) and not (self.root / entry.path).is_dir():
            raise self.document.error((*path, "path"), f"no such folder: {entry.path}; correct it")
        if isinstance(entry, TrainedCheckpoint | ConvertedCheckpoint):
            self.starts(name)
        if isinstance(entry, TrainedCheckpoint):
            self.known((*path, "recipe"), entry.recipe, self.params.recipes, "recipe")
            plain = self.training_data((*path, "dataset"), entry.datasets)
            if plain and self.params.recipes[entry.recipe].loss_on == "response":
                problem = f"'response' needs chats, but checkpoint '{name}' is trained on plain text; use loss_on: all"
                raise self.document.error(("recipes", entry.recipe, "loss_on"), problem)
            if entry.sampler is not None:
                self.known((*path, "sampler"), entry.sampler, self.params.samplers, "sampler")
            if isinstance(entry.start, Scratch):
                self.tokenizer((*path, "start", "tokenizer"), entry.start.tokenizer)
            self.length(name, entry)
            self.objective(name, entry)

    def training_data(self, path: PathKey, names: tuple[str, ...]) -> bool:
        """Refuse what cannot be trained on together; return whether it is plain text."""
        texts = {}
        for name in names:
            self.known(path, name, self.params.data, "data")
            data = self.params.data[name]
            if not isinstance(data, TrainingSet):
                raise self.document.error(path, f"'{name}' {_NO_TRAINING_SET}")
            texts[name] = is_text(data)
        if len(set(texts.values())) > 1:
            plain, chats = ([name for name, text in texts.items() if text is kind] for kind in (True, False))
            raise self.document.error(
                path, f"{', '.join(plain)}: plain text, {', '.join(chats)}: chats; a training joins one kind only"
            )
        return any(texts.values())

    def objective(self, name: str, entry: TrainedCheckpoint) -> None:
        causal = is_causal(self.params, name)
        kind = self.params.recipes[entry.recipe].objective.kind
        if causal != (kind == "ar"):
            attention, needed = ("causal", "ar") if causal else ("bidirectional", "mdlm', 'bd3lm' or 'mlm")
            raise self.document.error(
                ("checkpoints", name, "recipe"),
                f"'{entry.recipe}' has objective '{kind}', but the network's attention is {attention}; use a recipe of "
                f"objective '{needed}', or convert the start first",
            )

    def starts(self, name: str) -> None:
        seen = [name]
        while isinstance(entry := self.params.checkpoints[seen[-1]], TrainedCheckpoint | ConvertedCheckpoint):
            if isinstance(entry.start, Scratch):
                return
            path = ("checkpoints", seen[-1], "start")
            self.known(path, entry.start, self.params.checkpoints, "checkpoint")
            if entry.start in seen:
                raise self.document.error(path, f"circular: {' <- '.join((*seen, entry.start))}; break the circle")
            seen.append(entry.start)

    def tokenizer(self, path: PathKey, name: str) -> None:
        data, checkpoints = self.params.data, self.params.checkpoints
        self.known(path, name, {**data, **checkpoints}, "data or checkpoint")
        if not isinstance(data[name] if name in data else checkpoints[name], TokenizerData | ForeignCheckpoint):
            raise self.document.error(
                path,
                f"'{name}' has no tokenizer to begin with; name a prepared tokenizer or a checkpoint from elsewhere",
            )

    def length(self, name: str, entry: TrainedCheckpoint) -> None:
        root = root_architecture(self.params, name)
        recipe = self.params.recipes[entry.recipe]
        if root and recipe.max_length > root.architecture.max_positions:
            raise self.document.error(
                ("recipes", entry.recipe, "max_length"),
                f"{recipe.max_length} exceeds the {root.architecture.max_positions} positions (max_positions) of "
                f"checkpoint '{name}'; lower it or enlarge the architecture",
            )

    def task(self, name: str) -> None:
        task, path = self.params.tasks[name], ("tasks", name)
        for output, key in _ANSWERED_BY.items():
            named = getattr(task, key)
            if output != task.output:
                if named is not None:
                    raise self.document.error((*path, key), f"does not apply to a {task.output} task; remove it")
            elif named is None:
                raise self.document.error(path, f"missing key '{key}'; a task whose output is '{output}' needs one")
            else:
                self.known((*path, key), named, getattr(self.params, f"{key}s"), key)
        if task.lm_eval.startswith(LOCAL) or task.lm_eval in own_tasks(self.root):
            self.own_task(path, task)
        elif task.dataset is not None:
            self.test_data(path, task, reads="benchmark")

    def own_task(self, path: PathKey, task: Task) -> None:
        self.known((*path, "lm_eval"), task.lm_eval, own_tasks(self.root), "task of the project's own")
        file = own_tasks(self.root)[task.lm_eval]
        if task.output != file.output:
            raise self.document.error((*path, "output"), f"'{task.lm_eval}' is of output '{file.output}'; write that")
        for key, name, known in (("metric", task.metric, file.metrics), ("filter", task.filter, file.filters)):
            self.known((*path, key), name, dict.fromkeys(known), f"{key} of '{task.lm_eval}'")
        if task.dataset is not None:
            self.test_data(path, task, reads=file.reads)
        elif file.reads_folder or task.lm_eval.startswith(LOCAL):
            raise self.document.error(path, f"missing key 'dataset'; '{task.lm_eval}' reads a prepared test set")

    def test_data(self, path: PathKey, task: Task, *, reads: str) -> None:
        """Refuse data that a task does not read: of `dlm.params.task_files.TaskFile.reads`, the other kinds."""
        path, name = (*path, "dataset"), str(task.dataset)
        self.known(path, name, self.params.data, "data")
        data = self.params.data[name]
        if reads == "held_out":
            if not (isinstance(data, TrainingSet) and is_text(data)):
                raise self.document.error(path, f"'{name}' is no training set of plain text, with held-out rows")
            return
        kinds = GeneratedProblems | FixedTestSet | OwnDocuments if reads == "documents" else Benchmark
        if isinstance(data, kinds):
            return
        if reads == "documents":
            raise self.document.error(path, f"'{name}' is not a test set")
        near = did_you_mean(task.lm_eval, own_tasks(self.root))
        problem = f"'{name}' is not of kind 'benchmark', which alone '{task.lm_eval}' reads"
        raise self.document.error(path, f"{problem}; correct it, or `lm_eval`: {near}")

    def table(self, name: str) -> None:
        table = self.params.tables[name]
        for index, row in enumerate(table.rows):
            path = ("tables", name, "rows", index, "model")
            self.known(path, row.model, self.params.checkpoints, "checkpoint")
            tasks = list(self.fitting(name, row.model))
            for output in _ANSWERED_BY:
                self.row_settings(path[:-1], row, table, output)
            for task in tasks:
                if self.params.tasks[task].output == "generate":
                    self.answer_fits(row.model, row.setting_of(task, self.params.tasks[task]))
        self.differences(name, table)
        self.figures(name, table)

    def row_settings(self, path: PathKey, row: TableRow, table: Table, output: str) -> None:
        """Refuse the samplers, or the estimates, of a row where they are not known or have nothing to answer."""
        key = _ANSWERED_BY[output]
        named: dict[tuple[str, ...], str] = {} if getattr(row, key) is None else {(key,): getattr(row, key)}
        for task, name in getattr(row, f"{key}s").items():
            place = (*path, f"{key}s", task)
            self.known(place, task, dict.fromkeys(table.tasks), "task of this table")
            if (asked := self.params.tasks[task].output) != output:
                raise self.document.error(place, f"task '{task}' is of output '{asked}': no {key} applies; remove it")
            named[f"{key}s", task] = name
        for inner, name in named.items():
            self.known((*path, *inner), name, getattr(self.params, f"{key}s"), key)
            if is_causal(self.params, row.model):
                how = "answers greedily" if output == "generate" else "gives exact likelihoods"
                problem = f"'{row.model}' is autoregressive and {how}, so no {key} applies; remove it"
                raise self.document.error((*path, *inner), problem)

    def differences(self, name: str, table: Table) -> None:
        models, labels = [row.model for row in table.rows], [row.label for row in table.rows]
        for index, difference in enumerate(table.differs):
            path = ("tables", name, "differs", index)
            for key, known in {"tasks": table.tasks, "models": models, "rows": labels}.items():
                for place, one in enumerate(getattr(difference, key)):
                    self.known((*path, key, place), one, dict.fromkeys(known), f"{key[:-1]} of this table")

    def figures(self, name: str, table: Table) -> None:
        """Refuse names that nothing is published under, where the project has the published figures."""
        known = published_names(self.root)
        if table.published is None or not known:
            return
        for one in listed(table.published):
            self.known(("tables", name, "published"), one, known, "table of the published figures")
        benchmarks: dict[str, None] = {}
        for index, row in enumerate(table.rows):
            path, figures = ("tables", name, "rows", index), table.published_tables(row)
            for one in figures:
                self.known((*path, "published_in"), one, known, "table of the published figures")
                benchmarks |= dict.fromkeys(known[one].benchmarks)
            spoken = {
                "published": known[figures[0]].models,
                "published_source": known[figures[0]].sources,
                "published_metric": [metric for one in figures for metric in known[one].metrics],
            }
            for key, there in spoken.items():
                kind = key.removeprefix("published_").replace("published", "model")
                for one in listed(getattr(row, key)):
                    self.known((*path, key), one, dict.fromkeys(there), f"{kind} of '{', '.join(figures)}'")
        if table.beside:
            first = listed(table.published)[0]
            models = dict.fromkeys(known[first].models)
            for index, model in enumerate(table.beside):
                self.known(("tables", name, "beside", index), model, models, f"model of '{first}'")
        for task in table.tasks:
            benchmark = self.params.tasks[task].benchmark
            if benchmark is not None:
                place, figures = ("tasks", task, "benchmark"), listed(table.published)
                self.known(place, benchmark, benchmarks, f"benchmark of '{', '.join(figures)}'")

    def fitting(self, name: str, model: str) -> Iterator[str]:
        for index, task in enumerate(self.params.tables[name].tasks):
            self.known(("tables", name, "tasks", index), task, self.params.tasks, "task")
            yield task

    def answer_fits(self, model: str, sampler: str) -> None:
        root = root_architecture(self.params, model)
        if root is None:
            return
        length = self.params.samplers[sampler].canvas.max_new_tokens
        if length >= root.architecture.max_positions:
            raise self.document.error(
                ("samplers", sampler, "canvas", "max_new_tokens"),
                f"{length} leaves no room for a prompt in the {root.architecture.max_positions} positions of "
                f"checkpoint '{model}'; lower it",
            )
