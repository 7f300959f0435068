"""lm-eval 0.4.13, stock and unpatched: tasks loaded, and run on any model object.

lm-eval's index of its own tasks (thousands of files) is built only where a stock task is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.evaluator import evaluate
from lm_eval.filters import build_filter_ensemble
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind
from lm_eval.tasks._yaml_loader import load_yaml

from dlm.data import FILES, NLTK_DATA
from dlm.errors import DlmError, SettingsError, SetupError, did_you_mean
from dlm.evaluation import documents
from dlm.evaluation.surroundings import ALLOW_PROGRAMS, no_programs_in_here, quiet, seed_languages, seeded
from dlm.files import digest, read_manifest
from dlm.params.task_files import LOCAL, own_tasks, task_folders
from dlm.settings import LikelihoodSettings
from dlm.settings.evaluation import PROMPT

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.api.task import Task
    from lm_eval.tasks.manager import TaskDict

    from dlm.params import Cell

# lm-eval's own default (`lm_eval.defaults`): draws of solved examples are those of its command line.
_FEWSHOT_SEED = 1234
# What an error names where a task runs programs in this process: what allows it, or Hugging Face's metric.
_RUNS_PROGRAMS = (ALLOW_PROGRAMS, "code_eval")
_WRAPPER = "prepared"
_BOOTSTRAPS = 1000


def load_tasks(cells: Iterable[Cell], data_folder_of: Callable[[str], Path]) -> dict[str, TaskDict]:
    """Load each cell's task once.

    Args:
        cells: what will be evaluated.
        data_folder_of: folder of a prepared test set, by its name.

    Returns:
        lm-eval's loaded tasks by the project's name of the task; a stock group has several.

    Raises:
        SettingsError: lm-eval has no such task, metric or filter, or a setting does not fit it.
        SetupError: lm-eval cannot load the task here: a package is missing, or its data cannot be fetched.
        DataError: a test set is missing or damaged.
    """
    loaded: dict[str, TaskDict] = {}
    managers: dict[bool, TaskManager] = {}
    for cell in cells:
        if cell.task not in loaded:
            local = _is_own(cell.task_settings.lm_eval)
            if local not in managers:
                managers[local] = _manager(local)
            with quiet(), seeded(), no_programs_in_here():
                loaded[cell.task] = _load(managers[local], cell, data_folder_of)
            seed_languages()
        _check(loaded[cell.task], cell)
    return loaded


def load_own_task(name: str, rows: Sequence[Mapping[str, Any]]) -> TaskDict:
    """Load a task of the project's own on documents at hand, in the place of its data set.

    Args:
        name: lm-eval's name of it, one of `dlm.params.task_files.own_tasks`.
        rows: the documents, as the task sees them.
    """
    at_hand = {"custom_dataset": documents.load, "dataset_kwargs": {"rows": rows}, "process_docs": None}
    with quiet(), seeded():
        loaded = _manager(local=True).load([{"group": "local", "task": [{"task": name, **at_hand}]}])
    return {"tasks": {name: loaded["tasks"][name]}}


def run(lm: LM, tasks: TaskDict, cell: Cell, *, predict_only: bool = False) -> Mapping[str, Any]:
    """Run one cell with ``lm_eval.evaluator.evaluate``.

    Args:
        lm: any model object of lm-eval.
        tasks: the cell's loaded task; with ``predict_only``, good for nothing else afterwards.
        cell: shots, limit, chat.
        predict_only: ask the model, apply no filter and compute no metric (lm-eval's `bypass`), so run no program.

    Returns:
        lm-eval's results.
    """
    for task in tasks["tasks"].values():
        task.set_config("num_fewshot", cell.task_settings.num_fewshot)
        task.set_fewshot_seed(_FEWSHOT_SEED)
        if predict_only:
            task.override_metric("bypass")
            task._filters = [build_filter_ensemble("none", [("take_first", None)])]  # others may run programs
    with quiet(), seeded(), no_programs_in_here(), _worded(tasks, cell.task_settings.template):
        results = evaluate(
            lm=lm,
            task_dict=tasks,
            limit=cell.task_settings.limit,
            apply_chat_template=cell.chat,
            fewshot_as_multiturn=True,
            bootstrap_iters=_BOOTSTRAPS,
            confirm_run_unsafe_code=True,  # of the project's own tasks, which do it in the sandbox (`_check`)
        )
    assert results is not None  # there is one rank
    return results


@contextlib.contextmanager
def _worded(tasks: TaskDict, template: str | None) -> Iterator[None]:
    """Put a template's words around the question of every document, also of solved examples.

    Raises:
        SettingsError: the questions of a task are no texts.
    """
    if template is None:
        yield
        return
    before, _, after = template.partition(PROMPT)

    def around(asks: Callable[..., Any], name: str) -> Callable[..., Any]:
        def ask(doc: Any, doc_to_text: Any = None) -> str:
            question = asks(doc, doc_to_text)
            if not isinstance(question, str):
                raise SettingsError(f"lm-eval's '{name}' has no question of text, so no template applies; remove it")
            return f"{before}{question}{after}"

        return ask

    for name, task in tasks["tasks"].items():
        task.doc_to_text = around(task.doc_to_text, name)
    try:
        yield
    finally:
        for task in tasks["tasks"].values():
            del task.doc_to_text


def task_versions(tasks: TaskDict) -> dict[str, Any]:
    """Return lm-eval's version of each loaded task, by lm-eval's name."""
    return {name: task.VERSION for name, task in tasks["tasks"].items()}


def config_digest(tasks: TaskDict) -> str:
    """Digest everything that the task files say, functions by their source; not where anything lies on this machine."""
    return digest({name: _plain(_config(task)) for name, task in tasks["tasks"].items()})


def _manager(local: bool) -> TaskManager:
    return TaskManager(include_defaults=False, include_path=task_folders()) if local else TaskManager()


def _load(manager: TaskManager, cell: Cell, data_folder_of: Callable[[str], Path]) -> TaskDict:
    name = cell.task_settings.lm_eval
    if name not in manager.task_index:
        raise SettingsError(
            f"task '{cell.task}': lm-eval has no task '{name}'; {did_you_mean(name, manager.all_tasks)}"
        )
    if cell.dataset is not None:
        asked = _at_place(manager, name, _place_of_data(name, data_folder_of(cell.dataset)))
    elif name.startswith(LOCAL) or _reads_folder(name):
        raise SettingsError(f"task '{cell.task}': '{name}' needs a prepared test set; name one as its `dataset`")
    else:
        asked = name
    loaded = _loaded(manager, asked, cell)
    groups = {key: group for key, group in loaded.get("groups", {}).items() if key != _WRAPPER}
    members = {key: names for key, names in loaded.get("group_map", {}).items() if key != _WRAPPER}
    return {"tasks": loaded["tasks"], "groups": groups, "group_map": members}


def _at_place(manager: TaskManager, name: str, place: Mapping[str, Any]) -> Any:
    """Return what to ask lm-eval for, so that a task, or all of a group, read their data there."""
    entry = manager.task_index[name]
    if entry.kind is not Kind.GROUP:
        # What is told beside a task's name reaches it as the member of a group.
        return {"group": _WRAPPER, "task": [{"task": name, **place}]}
    # A group hands down what its own file says of its members; some of them stand nowhere else.
    content = load_yaml(entry.yaml_path, resolve_func=True)
    manager.task_index[_WRAPPER] = dataclasses.replace(entry, yaml_path=None, cfg={**content, **place})
    return _WRAPPER


def _is_own(name: str) -> bool:
    """Return whether a task is the package's or the project's, not one of lm-eval's."""
    return name.startswith(LOCAL) or name in own_tasks()


def _reads_folder(name: str) -> bool:
    """Return whether a task reads its prepared data itself, and cannot do without."""
    own = own_tasks().get(name)
    return own is not None and own.reads_folder


def _place_of_data(name: str, folder: Path) -> dict[str, Any]:
    """Return what tells a task where its prepared data lies: the folder, or in it a benchmark's repository.

    Raises:
        DataError: there is none, or it is damaged.
        SettingsError: it is of another kind than the task reads.
    """
    kind = read_manifest(folder)["kind"]
    _offer_nltk_data(folder / NLTK_DATA)
    if _reads_folder(name):
        return {"dataset_kwargs": {"folder": str(folder)}}
    if kind != "benchmark":
        raise SettingsError(f"{folder}: of kind '{kind}'; lm-eval's '{name}' reads data of kind 'benchmark'")
    return {"dataset_path": str((folder / FILES).absolute())}


def _offer_nltk_data(folder: Path) -> None:
    """Let NLTK look into a prepared benchmark first, where that has data for it: tasks look when they are loaded."""
    if folder.is_dir():
        import nltk

        if str(folder.absolute()) not in nltk.data.path:
            nltk.data.path.insert(0, str(folder.absolute()))


def _loaded(manager: TaskManager, asked: Any, cell: Cell) -> TaskDict:
    """Load a task. lm-eval's own run their code, and may fetch data: what goes wrong there is said in a line."""
    name = cell.task_settings.lm_eval
    try:
        return manager.load([asked])
    except DlmError:
        raise
    except Exception as error:
        if any(mark in str(error) for mark in _RUNS_PROGRAMS):
            raise SettingsError(_unsafe(cell)) from error
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise SetupError(f"task '{cell.task}': lm-eval cannot load its '{name}' here ({problem})") from error


def _unsafe(cell: Cell) -> str:
    name = cell.task_settings.lm_eval
    own = [task for task, file in own_tasks().items() if file.runs_programs]
    return (
        f"task '{cell.task}': lm-eval's '{name}' runs what models write in its own process; take one of the project's "
        f"tasks, which use the sandbox: {did_you_mean(LOCAL + name, own)}"
    )


def _check(tasks: TaskDict, cell: Cell) -> None:
    """Refuse settings that lm-eval does not know, would ignore or answer wrongly, before a model is asked."""
    shots = cell.task_settings.num_fewshot
    _check_readout(tasks, cell)
    for name, task in tasks["tasks"].items():
        if getattr(task, "UNSAFE_CODE", False) and not _is_own(cell.task_settings.lm_eval):
            raise SettingsError(_unsafe(cell))
        if shots and task.get_config("num_fewshot") == 0:
            raise SettingsError(f"task '{cell.task}': lm-eval's '{name}' takes no shots; set num_fewshot: 0")
        unknown = isinstance(cell.likelihood, LikelihoodSettings) and cell.likelihood.greedy == "none"
        if task.OUTPUT_TYPE == "loglikelihood" and cell.task_settings.metric == "acc" and unknown:
            raise SettingsError(
                f"task '{cell.task}': accuracy of lm-eval's '{name}' asks whether a greedy decoder gives the answer; "
                f"set greedy of '{cell.setting}' to one_step or decode"
            )


def _check_readout(tasks: TaskDict, cell: Cell) -> None:
    """Refuse a metric or a filter that no member of the task declares."""
    settings, members = cell.task_settings, list(tasks["tasks"].values())
    filters = [entry["name"] for task in members for entry in task.get_config("filter_list") or [{"name": "none"}]]
    metrics = [metric for task in members for metric in task.aggregation()]
    # A metric that is a function may give several numbers, under names that it alone knows.
    declared = [entry["metric"] for task in members for entry in task.get_config("metric_list") or []]
    for kind, name, known in (("filter", settings.filter, filters), ("metric", settings.metric, metrics)):
        if name not in known and not (kind == "metric" and any(map(callable, declared))):
            raise SettingsError(
                f"task '{cell.task}': lm-eval's '{settings.lm_eval}' has no {kind} '{name}'; "
                f"{did_you_mean(name, dict.fromkeys(known))}"
            )


def _config(task: Task) -> dict[str, Any]:
    config = dataclasses.asdict(task.config)
    for place in ("dataset_kwargs", "dataset_path"):
        config.pop(place, None)
    config["metadata"] = {k: v for k, v in (config.get("metadata") or {}).items() if k != "config_source"}
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if callable(value):
        return _source(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return getattr(function, "__qualname__", type(function).__qualname__)
