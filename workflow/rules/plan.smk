# What to run: the params of the asked-for scale, read and checked before any job starts.

import os
import shlex
import sys

from dlm.analysis.publish import drop_stale, is_current
from dlm.cli import keep_caches_inside
from dlm.errors import DlmError
from dlm.files import sha256_file
from dlm.params import NAME, code_digest, load_plan
from dlm.params.layout import SENSITIVITY, SWEEP_SUFFIXES
from dlm.params.stamps import read_stamp, remembered
from dlm.params.urgency import urgency

keep_caches_inside(Path.cwd())


def refuse(error):
    """End in one line: Snakemake would print a traceback for any exception that leaves a Snakefile."""
    print(f"error: {error}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(error.exit_code)


def runs_jobs():
    """Whether this is a run, not a plan, a report or one of a run's own jobs; known once rules' inputs are asked for."""
    return workflow.is_main_process and workflow.executor_plugin is not None and not workflow.dryrun


def refuse_unsafe(table):
    """Refuse, before any job, a table that would run what models write, unless the params allow that."""
    if runs_jobs():
        try:
            PLAN.refuse_unsafe(PLAN.table_tasks(table))
        except DlmError as error:
            refuse(error)


# `--config scale=` gives None.
SCALE = str(config.get("scale", "tiny") or "")
try:
    if unknown := sorted(set(config) - {"scale"}):
        raise DlmError(f"--config {unknown[0]}: unknown key; known: scale (targets stand before --config)")
    PLAN = load_plan(SCALE)
except DlmError as error:
    refuse(error)

DLM = f"{shlex.quote(sys.executable)} -m dlm"


wildcard_constraints:
    name=NAME.pattern,


def product(wildcards):
    """Name of the product that a job makes."""
    return "/".join(wildcards)


def made(step, name="{name}"):
    """Path pattern of a step's product."""
    return PLAN.layout.manifest(step, name)


def log_of(step, name="{name}"):
    """Path pattern of a step's log."""
    return str(PLAN.layout.base / "logs" / step / f"{name}.log")
