"""What a job asks for, in Snakemake's words and in SLURM's: one table and one pure function."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from snakemake_interface_common.exceptions import WorkflowError

Parameters = dict[str, object]

# submitit always states a time limit, so there is no such thing as the partition's own default.
DEFAULT_RUNTIME_MIN = 60

# SLURM looks at its clock once a minute, so a signal may come that much earlier than it was asked for.
SLURM_CLOCK_S = 60

# The command takes the place of the batch script, instead of being started by it with srun: it runs once, on the first
# node, whatever the number of tasks, and starts what belongs on the others with srun itself. And srun answers the
# SIGTERM that SLURM sends to all of a job by killing its tasks at once, so that they could not save anything.
STEP: Parameters = {"slurm_use_srun": False, "slurm_python": f"exec {shlex.quote(sys.executable)}"}


class Row(NamedTuple):
    """One line of the table."""

    resource: str
    option: str
    meaning: str


TABLE = (
    Row("threads", "--cpus-per-task", "cores"),
    Row("cpus_per_task", "--cpus-per-task", "cores, where they are not the rule's threads"),
    Row("cpus_per_gpu", "--cpus-per-task", "cores for each of a node's GPUs, where that is more"),
    Row("mem_mb", "--mem", "memory per node in MiB; without it, SLURM's default"),
    Row("mem_mb_per_gpu", "--mem", "memory in MiB for each of a node's GPUs, where that is more than mem_mb"),
    Row("runtime", "--time", f"time limit in minutes; without it, {DEFAULT_RUNTIME_MIN}"),
    Row(
        "signal_s", "--signal", "seconds before the limit at which the job saves its state and is requeued; 0 is never"
    ),
    Row("gpu", "--gpus-per-node", "GPUs on each node; 0 is none"),
    Row("nodes", "--nodes", "nodes; without it, 1"),
    Row("tasks", "--ntasks-per-node", "tasks in all, a multiple of nodes; without it, one a node"),
    Row("slurm_partition", "--partition", "a name, instead of --submitit-partition"),
    Row("slurm_account", "--account", "a name, instead of --submitit-account"),
    Row("slurm_qos", "--qos", "a name"),
    Row("slurm_constraint", "--constraint", "features a node must have"),
    Row("slurm_extra", "any other", 'options of sbatch as on its command line, "--reservation=x --exclusive"'),
)
SLURM_NAMES = tuple(row.resource for row in TABLE if row.resource.startswith("slurm_"))

# What the plugin and submitit need to say themselves.
TAKEN = frozenset(
    ("array", "clusters", "error", "job-name", "open-mode", "output", "parsable", "signal", "test-only", "wait", "wrap")
)

# Names of sbatch's options and of other executors' resources, which would be passed over in silence, by what is meant.
# Snakemake itself knows none of them; who wants one as their own names it in --resources.
EXTRA = "slurm_extra"
MEANT = {
    "gpu": "gpus gres gpus_per_node gpus_per_task gpu_per_node ngpus tasks_per_gpu ntasks_per_gpu",
    "cpus_per_task": "cpus ncpus cpus_per_node",
    "mem_mb": "mem_gb mem_per_cpu mem_mb_per_cpu mem_per_node",
    "mem_mb_per_gpu": "mem_per_gpu",
    "runtime": "walltime time_min time time_limit timelimit timeout_min",
    "tasks": "ntasks tasks_per_node ntasks_per_node mpi",
    "nodes": "num_nodes nnodes",
    "slurm_partition": "partition queue",
    "slurm_account": "account",
    "slurm_qos": "qos",
    "slurm_constraint": "constraint",
    EXTRA: "clusters dependency exclude exclusive licenses mail_type mail_user nodelist requeue reservation",
}
MISTAKEN = {name: meant for meant, names in MEANT.items() for name in names.split()}

# What a group asks for once, however many of its jobs do. Snakemake would add up what those that run together ask for.
OF_A_GROUP = ("nodes", "tasks", "signal_s", "cpus_per_gpu", "mem_mb_per_gpu")


def submission(resources: Mapping[str, object], threads: int) -> Parameters:
    """The parameters of a submitit executor for a job: those that all clusters share, and SLURM's own."""
    nodes = whole(resources, "nodes", 1, least=1)
    tasks = whole(resources, "tasks", nodes, least=1)
    if tasks % nodes:
        raise WorkflowError(f"resource tasks: {tasks} tasks cannot be spread evenly over {nodes} nodes")
    gpus = whole(resources, "gpu", 0)
    for_gpus = -(-gpus * whole(resources, "cpus_per_gpu", 0) // (tasks // nodes))
    cpus = max(whole(resources, "cpus_per_task", threads, least=1), for_gpus)
    runtime = whole(resources, "runtime", DEFAULT_RUNTIME_MIN, least=1)
    warning = warning_s(resources)
    if warning and warning + SLURM_CLOCK_S >= 60 * runtime:
        raise WorkflowError(
            f"resource signal_s: a signal {warning} s before the end, or up to {SLURM_CLOCK_S} s earlier as SLURM may "
            f"send it, leaves nothing of a runtime of {runtime} min; ask for more runtime"
        )
    parameters: Parameters = {
        "timeout_min": runtime,
        "cpus_per_task": cpus,
        "nodes": nodes,
        "tasks_per_node": tasks // nodes,
        "stderr_to_stdout": True,
        "slurm_signal_delay_s": 0,  # to the steps, of which there is none: not asked for
    }
    if memory := max(whole(resources, "mem_mb", 0), gpus * whole(resources, "mem_mb_per_gpu", 0)):
        parameters["mem_gb"] = memory / 1024  # a power of two, so submitit gets the same whole number back
    if gpus:
        parameters["gpus_per_node"] = gpus
    words = slurm_words(resources)
    given = words.pop("slurm_additional_parameters", {})
    assert isinstance(given, dict)
    extra: dict[str, str | bool] = {} if "no-requeue" in given else {"requeue": True}
    if warning:
        extra["signal"] = f"B:USR2@{warning}"
    return parameters | STEP | words | {"slurm_additional_parameters": extra | given}


def warning_s(resources: Mapping[str, object]) -> int:
    """Seconds before its time limit at which a job is warned; 0: it is not."""
    return whole(resources, "signal_s", 0)


def slurm_words(resources: Mapping[str, object]) -> Parameters:
    """The resources that only SLURM knows; an empty one is as good as none."""
    words: Parameters = {name: str(resources[name]) for name in SLURM_NAMES if resources.get(name)}
    if "slurm_extra" in words:
        words["slurm_additional_parameters"] = extra_options(str(words.pop("slurm_extra")))
    return words


def refuse_unknown(names: Iterable[str], own: Iterable[str] = ()) -> None:
    """Refuse a resource that looks like one of SLURM's and has no meaning here: it would be passed over in silence.

    Args:
        names: of a rule's resources.
        own: names that the user has given a meaning, by --resources.
    """
    for name in sorted(set(names) - set(own)):
        if name.startswith("slurm_") and name not in SLURM_NAMES:
            legal = ", ".join(SLURM_NAMES)
            raise WorkflowError(f"resource {name}: unknown; known: {legal} (slurm_extra takes any option of sbatch)")
        if name in MISTAKEN:
            legal = ", ".join(row.resource for row in TABLE)
            raise WorkflowError(f"resource {name}: unknown, {MISTAKEN[name]} is meant; known: {legal}")


def of_group(members: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The resources that a group asks for only once: as much as the member that asks for most."""
    asked = {name: [value for each in members if isinstance(value := each.get(name), int)] for name in OF_A_GROUP}
    return {name: max(values) for name, values in asked.items() if values}


def whole(resources: Mapping[str, object], name: str, default: int, least: int = 0) -> int:
    """A resource that has to be a whole number."""
    value = resources.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise WorkflowError(f"resource {name}: expected a whole number of at least {least}, found {value!r}")
    return value


def extra_options(text: str) -> dict[str, str | bool]:
    """Options of sbatch from one string: `--name=value`, `--name value` or `--flag`."""
    options: dict[str, str | bool] = {}
    last = ""
    for word in shlex.split(text):
        if word.startswith("--") and len(word) > 2:
            last, given, value = word.removeprefix("--").partition("=")
            options[last] = value if given else True
        elif word.startswith("-") or options.get(last) is not True:
            raise WorkflowError(f"resource slurm_extra: expected --name=value, found {word!r} in {text!r}")
        else:
            options[last] = word
    if taken := sorted(set(options) & TAKEN):
        raise WorkflowError(f"resource slurm_extra: --{taken[0]} is set by the submitit executor itself")
    return options
