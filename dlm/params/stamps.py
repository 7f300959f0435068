"""Stamps: what each product says it was made from, so that anybody who finds it can tell whether it fits the plan.

A stamp lies hidden beside a product and goes where the product goes. It holds the digests of settings and code, of what
the product was made from, and of the files that stand for the product. Snakemake's own memory, which stays in the
clone where a job ran, follows the stamps (workflow/rules/memory.smk); so do the stages of DVC (``plan_text``).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dlm.errors import DataError, SettingsError
from dlm.files import MANIFEST, digest, read_json, read_manifest, sha256_file, write_json
from dlm.params.code import code_digest
from dlm.params.digests import running
from dlm.params.layout import SENSITIVITY
from dlm.params.plan import Plan
from dlm.settings import ExecutionSettings

STAMP_FORMAT = "dlm-stamp/1"
_STAMP = ".made.json"


def stamp_path(plan: Plan, step: str, name: str) -> Path:
    """Return where the stamp of a product lies: in its folder, which tables share."""
    if step == "tables":
        return plan.layout.tables / f".{name}{_STAMP}"
    return plan.layout.folder(step, name) / _STAMP


def asked(plan: Plan, step: str, name: str) -> dict[str, str]:
    """Return what the plan asks of a product, apart from what it is made from: the digests of settings and code."""
    return {"settings": plan.digest(step, name), "code": code_digest(step)}


@contextlib.contextmanager
def stamped(plan: Plan, step: str, name: str, forget: Callable[[], None] | None = None) -> Iterator[None]:
    """Stamp a product when the work inside is done, with what the work began with.

    Args:
        plan: of the scale.
        step, name: the product.
        forget: drops what earlier runs recorded and this one would continue; called where other code recorded it, or
            a model run otherwise (dtype, device, threads, batch size).
    """
    path = stamp_path(plan, step, name)
    inputs = _contents(plan.inputs(step, name))
    made: dict[str, Any] = {"format": STAMP_FORMAT, **asked(plan, step, name), "inputs": inputs}
    if forget is not None:
        execution = plan.execution_of(name)
        if not answers_as_now(path.parent, execution):
            forget()
        made["answers"] = _answers(execution)
        write_json(path, made)
    yield
    write_json(path, {**made, "outputs": _bytes(plan.outputs(step, name))})


def answers_as_now(folder: Path, execution: ExecutionSettings) -> bool:
    """Return whether what a folder of responses records was answered by the present code, run in the same way."""
    return _read(folder / _STAMP).get("answers") == _answers(execution)


def _answers(execution: ExecutionSettings) -> str:
    """Digest how prompts are answered: by which code, and how that is run."""
    return digest([code_digest("answers"), running(execution)])


def read_stamp(plan: Plan, step: str, name: str) -> dict[str, Any] | None:
    """Return the stamp of a product as it lies there now; None: there is none, or it is another product's."""
    stamp, files = _read(stamp_path(plan, step, name)), plan.outputs(step, name)
    lying = _bytes(files)
    return stamp if len(lying) == len(files) and lying == stamp.get("outputs") else None


def accept(plan: Plan) -> list[str]:
    """Stamp as made by the present code what other code made from the same settings and files.

    For a change of code that is known to change no result. Returns the products, as ``step name``.
    """
    accepted = []
    tables = (*plan.params.tables, *plan.sweep_tables())
    for step, name in ((step, name) for step, names in plan.products(*tables).items() for name in names):
        stamp, now = read_stamp(plan, step, name), asked(plan, step, name)
        if stamp is None or stamp["code"] == now["code"]:
            continue
        if stamp["settings"] == now["settings"] and stamp["inputs"] == _contents(plan.inputs(step, name)):
            answers = {"answers": _answers(plan.execution_of(name))} if "answers" in stamp else {}
            write_json(stamp_path(plan, step, name), {**stamp, **now, **answers})
            accepted.append(f"{step} {name}")
    return accepted


def plan_text(plan: Plan, *tables: str) -> str:
    """Return what is asked of every product that tables (or all) need, as JSON; the stages of DVC depend on it.

    Files that no step makes are named with their content, since no stage's output stands for them.

    Raises:
        SettingsError: DVC would not notice that such a file has changed; a table is a sweep's, which has no stages.
    """
    if sweeps := [table for table in tables if table.startswith(SENSITIVITY)]:
        raise SettingsError(
            f"{sweeps[0]}: DVC's stages are those of the params' tables; a sweep's are snakemake's alone: "
            f"snakemake results/tables/{sweeps[0]}.csv"
        )
    seen = _looked_at(plan.layout.root)
    content: dict[str, dict[str, Any]] = {}
    for step, names in plan.products(*tables).items():
        content[step] = {}
        for name in names:
            given = [file for file in plan.inputs(step, name) if not Path(file).is_relative_to(plan.layout.base)]
            for file in given:
                if not any(_inside(file, folder) for folder in seen):
                    raise SettingsError(
                        f"{file}: DVC would not notice a change of it; move it to data/, or name it under `deps` of "
                        "the stage `plan` in dvc.yaml"
                    )
            content[step][name] = {**asked(plan, step, name), "given": _contents(given)}
    return json.dumps(content, indent=1) + "\n"


def _looked_at(root: Path) -> list[Path]:
    """Return what the stage that writes a plan depends on; everything where there is no such stage."""
    try:
        stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
        return [root / dependency for dependency in stages["stages"]["plan"]["deps"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return [root, Path("/")]


def _inside(file: str, folder: Path) -> bool:
    return Path(file).absolute().is_relative_to(folder.absolute())


def remembered(stamp: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 of each file that a product was made from; where the same content lies there now, of that file.

    A data set prepared again, to the same rows, has another manifest (of another commit, say): nothing to train for.
    """
    same = {file: content for file, content in stamp["inputs"].items() if _contents([file]) == {file: content}}
    return {file: sha256_file(file) if file in same else content for file, content in stamp["inputs"].items()}


def _contents(files: Iterable[str]) -> dict[str, str]:
    """Digest the files that there are: what a manifest lists, and any other file's bytes."""
    return {file: _content(Path(file)) for file in files if Path(file).is_file()}


def _content(file: Path) -> str:
    if file.name == MANIFEST:
        with contextlib.suppress(DataError):
            return str(read_manifest(file.parent, verify=False)["digest"])
    return sha256_file(file)


def _bytes(files: Iterable[str]) -> dict[str, str]:
    return {file: sha256_file(file) for file in files if Path(file).is_file()}


def _read(path: Path) -> dict[str, Any]:
    """Read a stamp; one that cannot be read says nothing."""
    try:
        stamp = read_json(path)
    except DataError:
        return {}
    return stamp if isinstance(stamp, dict) and stamp.get("format") == STAMP_FORMAT else {}
