"""What surrounds lm-eval while it loads and runs tasks: random numbers, what it says, what it may not do."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
from collections.abc import Iterator

import numpy as np

# lm-eval's own defaults (`lm_eval.defaults`): shuffled choices are those of its command line.
_PYTHON_SEED, _NUMPY_SEED = 0, 1234
ALLOW_PROGRAMS = "HF_ALLOW_CODE_EVAL"
"""What the metric that runs programs in this process (Hugging Face's `code_eval`) looks at before it does."""


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Give lm-eval's tasks the random numbers of its command line, and everybody else theirs back."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(_PYTHON_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def seed_languages() -> None:
    """Let the guess of a text's language, which IFEval asks for, be the same each time: unseeded, it draws anew."""
    if (langdetect := sys.modules.get("langdetect")) is not None:
        langdetect.DetectorFactory.seed = _PYTHON_SEED


@contextlib.contextmanager
def no_programs_in_here() -> Iterator[None]:
    """Forbid lm-eval's metrics to run programs, whatever the environment allows: that is for the sandbox."""
    before = os.environ.pop(ALLOW_PROGRAMS, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[ALLOW_PROGRAMS] = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let lm-eval say warnings only, and not the one that it gives for every task with documents of its own."""
    logger, task_logger = logging.getLogger("lm_eval"), logging.getLogger("lm_eval.api.task")
    level = logger.level
    if level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
    task_logger.addFilter(_worth_saying)
    try:
        yield
    finally:
        task_logger.removeFilter(_worth_saying)
        logger.setLevel(level)


def _worth_saying(record: logging.LogRecord) -> bool:
    return "Custom kwargs can be passed" not in str(record.msg)
