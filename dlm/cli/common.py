"""What the verbs share: the scale, the log, and finding the project."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from dlm.errors import DlmError, Interrupted, SettingsError, SetupError, line_of
from dlm.files import remove_unfinished
from dlm.locks import held
from dlm.params import Plan, load_plan, stamped
from dlm.params.layout import Layout
from dlm.params.reader import read_document
from dlm.progress import log_to, say

scale_option = click.option(
    "--scale", default="tiny", show_default=True, help="Which params file: params/<scale>.yaml."
)
log_option = click.option("--log", type=click.Path(path_type=Path), help="Also write progress to this file.")


def pipeline_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every pipeline step."""
    return scale_option(log_option(function))


def enter_project() -> Path:
    """Make the project's root the current folder; return it.

    Raises:
        SetupError: not inside a project.
    """
    from dlm.cli import project_root_or_here

    root = project_root_or_here()
    if not (root / "params").is_dir():
        raise SetupError("no project here: run inside the folder that holds Snakefile and params/")
    os.chdir(root)
    return root


def made_at(scale: str) -> Layout:
    """Return where the files of a scale lie, for whoever looks at what was made and needs no readable params.

    Raises:
        SetupError: not inside a project.
        SettingsError: nothing was made at that scale, and the params know none of that name.
    """
    layout = Layout(scale)
    if not (enter_project() / layout.base).is_dir():
        read_document(Path("params"), scale)
    return layout


def is_first_process() -> bool:
    """Whether this process reports: the only one, or the first of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def told_of(work: str) -> Iterator[None]:
    """Begin the line of an error with the work that met it; one that was interrupted says so itself."""
    try:
        yield
    except Interrupted:
        raise
    except DlmError as error:
        raise type(error)(f"{work}: {error}") from error


@contextlib.contextmanager
def pipeline(scale: str, log: Path | None) -> Iterator[Plan]:
    """Enter the project's root, read the plan of ``scale`` and send progress to the log, if there is one.

    Raises:
        SetupError: not inside a project.
        SettingsError: the params do not hold.
    """
    log = log.absolute() if log else None
    enter_project()
    plan = load_plan(scale)
    with logged(log):
        yield plan


@contextlib.contextmanager
def logged(log: Path | None) -> Iterator[None]:
    """Send progress to the log too, if there is one, and why the work ended, if it failed: Snakemake shows that log."""
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    # Appending, since a process that outlived its Snakemake may still be writing there.
    with log.open("a", encoding="utf-8") as stream:
        log_to(stream)
        try:
            yield
        except Exception as error:
            with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as last:  # the disk may be full
                last.write(f"{line_of(error) or traceback.format_exc().rstrip()}\n")
            raise
        finally:
            log_to(None)


@contextlib.contextmanager
def making(plan: Plan, step: str, *names: str, forget: Callable[[str], None] | None = None) -> Iterator[bool]:
    """Make products alone, and stamp them when the work inside is done; others that make one of them are waited for.

    A killed Snakemake may leave jobs behind that go on beside those of the next start. What killed ones left of a file
    that they were writing is removed.

    Args:
        plan: of the scale.
        step, names: the products.
        forget: drops what other code recorded for a product.

    Yields:
        Whether another's end was waited for. Of several processes that share the work none is told so, since what it
        did about it the others would have to do as well.
    """
    for name in names:
        plan.inputs(step, name)  # refuses what the plan does not know, before a lock is made for it
    with contextlib.ExitStack() as stack:
        waited = False
        for name in names:

            def tell(holder: str, name: str = name) -> None:
                say(f"{step}/{name} of scale {plan.scale} is being made by {holder}; waiting for its end")

            waited |= stack.enter_context(held(plan.layout.lock(step, name), tell))
            remove_unfinished(plan.layout.folder(step, name))
        for name in names:
            stack.enter_context(stamped(plan, step, name, forget and partial(forget, name)))
        yield waited and os.environ.get("WORLD_SIZE", "1") == "1"


_MAKES = {"train": "train", "convert": "convert", "hub": "convert", "folder": "convert"}
"""Verb that makes a checkpoint, by its kind."""


def of_kind(plan: Plan, name: str, kind: type, verb: str) -> Any:
    """Return a checkpoint's entry of the params; one of another kind is refused, as ``verb`` does not make it."""
    entry = plan.entry("checkpoints", name)
    if not isinstance(entry, kind):
        verb_of_it = f"`dlm {_MAKES[entry.kind]} {name}`"
        raise SettingsError(
            f"checkpoint '{name}' is of kind '{entry.kind}', which `dlm {verb}` does not make; use {verb_of_it}"
        )
    return entry


def remedy(plan: Plan, path: str) -> str:
    """Return a file that some step makes, and the command that makes it."""
    step, *names = Path(path).relative_to(plan.layout.base).parts[:-1]
    name = "/".join(names)
    if step == "checkpoints":
        return f"{path} (`dlm {_MAKES[plan.entry(step, name).kind]} {name} --scale {plan.scale}`)"
    verb = {"data": "prepare", "responses": "sample"}[step]
    bundle = f" --bundle {names[1]}" if step == "responses" else ""
    return f"{path} (`dlm {verb} {names[0]}{bundle} --scale {plan.scale}`)"


def lineage(parents: dict[str, str], settings: Any, **more: Any) -> dict[str, Any]:
    """Return what a product is made from: its parents' digests, settings, and the versions of code and libraries."""
    from dlm.provenance import code_version, library_versions

    return {
        "parents": parents,
        "settings": dataclasses.asdict(settings),
        "code": code_version(),
        "libraries": library_versions("torch", "transformers", "tokenizers", "accelerate", "peft"),
        **more,
    }
