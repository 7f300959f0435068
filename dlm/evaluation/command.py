"""lm-eval's own command line, with the model class ``dlm`` and the project's tasks known to it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from traceback import walk_tb
from typing import Any

from lm_eval._cli import HarnessCLI
from lm_eval.config.evaluate_config import EvaluatorConfig
from lm_eval.utils import setup_logging

from dlm.errors import RemoteError, SettingsError
from dlm.evaluation.arguments import read_arguments
from dlm.params.task_files import task_folders

MODEL = "dlm"
_REFUSING = ("lm_eval.config", "lm_eval._cli")
"""Where lm-eval looks at what was typed: a ValueError from there is the user's to mend."""


def run_command_line(arguments: Sequence[str]) -> None:
    """Run lm-eval's command line, which writes its tables to standard output.

    Everything goes to it as it was typed. Three defaults are ours: the project's tasks are found beside those of
    ``--include_path``; the model ``dlm`` runs on a GPU only where there is one; and it takes no ``--gen_kwargs`` but
    ``until``, since its model_args say how it samples.

    Args:
        arguments: what stands behind the command's name.

    Raises:
        SettingsError: what lm-eval refuses, or the model class: one line.
        RemoteError: the data of a task cannot be had.
    """
    setup_logging()
    harness = HarnessCLI()
    with _typed_as(arguments), _refusals():
        parsed = harness.parse_args()
        _set_defaults(parsed)
        harness.execute(parsed)


def _set_defaults(parsed: argparse.Namespace) -> None:
    file = EvaluatorConfig.load_yaml_config(parsed.config) if getattr(parsed, "config", None) else {}
    if hasattr(parsed, "include_path"):
        paths = parsed.include_path or file.get("include_path") or []
        parsed.include_path = [*map(str, task_folders()), *([paths] if isinstance(paths, str) else paths)]
    if parsed.command == "run" and (parsed.model or file.get("model")) == MODEL:
        _set_model_defaults(parsed, file)


def _set_model_defaults(parsed: argparse.Namespace, file: Mapping[str, Any]) -> None:
    import dlm.evaluation.lm  # noqa: F401  (registers the model class)

    arguments = parsed.model_args or file.get("model_args") or {}
    if isinstance(arguments, Mapping):
        read_arguments(arguments)  # before lm-eval reads its thousands of task files
    if parsed.device is None and "device" not in file:
        parsed.device = "auto"
    asked = parsed.gen_kwargs or file.get("gen_kwargs") or {}
    if isinstance(asked, Mapping) and (others := sorted(set(asked) - {"until"})):
        raise SettingsError(
            f"--gen_kwargs {', '.join(others)}: for --model {MODEL}, say how it samples in --model_args"
        )


@contextlib.contextmanager
def _typed_as(arguments: Sequence[str]) -> Iterator[None]:
    """Let lm-eval's parser, which reads the process's own arguments, read these."""
    before, sys.argv = sys.argv, ["lm-eval", *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what lm-eval says of its own arguments, or of a hub that it does not reach, into one line."""
    try:
        yield
    except ConnectionError as error:
        said = " ".join(str(error).split())
        raise RemoteError(
            f"lm-eval: {said}; stock tasks ask the hub for their data: a network, or HF_HOME with it"
        ) from error
    except (ValueError, TypeError, FileNotFoundError) as error:
        frame = list(walk_tb(error.__traceback__))[-1][0]
        if isinstance(error, SettingsError) or not str(frame.f_globals.get("__name__")).startswith(_REFUSING):
            raise
        raise SettingsError(f"lm-eval: {' '.join(str(error).split())}") from error
