"""What a job asks for, in Snakemake's words and in SLURM's: one table and one pure function."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from snakemake_interface_common.exceptions import WorkflowError

Parameters = dict[str, object]

# submitit always states a time limit, so there is no such thing as the partition's own default.
DEFAULT_RUNTIME_MIN = 60

# submitit asks SLURM to send USR2 some time before the limit, and SLURM may send it a minute earlier still. A command
# that cannot use the warning would be ended by it minutes before its time, a short one as soon as it starts. Nothing
# here can use it yet, so none is asked for; zero is SLURM's word for that.
WARNING_S = 0


class Row(NamedTuple):
    """One line of the table."""

    resource: str
    option: str
    meaning: str


TABLE = (
    Row("threads", "--cpus-per-task", "cores"),
    Row("cpus_per_task", "--cpus-per-task", "cores, where they are not the rule's threads"),
    Row("mem_mb", "--mem", "memory per node in MiB; without it, SLURM's default"),
    Row("runtime", "--time", f"time limit in minutes; without it, {DEFAULT_RUNTIME_MIN}"),
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
TAKEN = ("array", "error", "job-name", "open-mode", "output", "parsable", "signal", "test-only", "wrap")


def submission(resources: Mapping[str, object], threads: int, name: str) -> Parameters:
    """The parameters of a submitit executor for a job: those that all clusters share, and SLURM's own."""
    refuse_unknown(resources)
    cpus = whole(resources, "cpus_per_task", threads, least=1)
    nodes = whole(resources, "nodes", 1, least=1)
    tasks = whole(resources, "tasks", nodes, least=1)
    if tasks % nodes:
        raise WorkflowError(f"resource tasks: {tasks} tasks cannot be spread evenly over {nodes} nodes")
    parameters: Parameters = {
        "name": name,
        "timeout_min": whole(resources, "runtime", DEFAULT_RUNTIME_MIN, least=1),
        "cpus_per_task": cpus,
        "nodes": nodes,
        "tasks_per_node": tasks // nodes,
        "stderr_to_stdout": True,
        "slurm_signal_delay_s": WARNING_S,
    }
    if memory := whole(resources, "mem_mb", 0):
        parameters["mem_gb"] = memory / 1024  # a power of two, so submitit gets the same whole number back
    if gpus := whole(resources, "gpu", 0):
        parameters["gpus_per_node"] = gpus
    return parameters | step(cpus, tasks) | slurm_words(resources)


def step(cpus: int, tasks: int) -> Parameters:
    """How the command is started within its job: once, whatever the number of tasks."""
    if tasks == 1:
        # since SLURM 22.05 a step does not inherit the cores per task of its job
        return {"slurm_srun_args": [f"--cpus-per-task={cpus}"]}
    # srun would start it once a task: it starts on the first node instead and calls srun itself
    return {"slurm_use_srun": False}


def slurm_words(resources: Mapping[str, object]) -> Parameters:
    """The resources that only SLURM knows; an empty one is as good as none."""
    words: Parameters = {name: str(resources[name]) for name in SLURM_NAMES if resources.get(name)}
    if "slurm_extra" in words:
        words["slurm_additional_parameters"] = extra_options(str(words.pop("slurm_extra")))
    return words


def refuse_unknown(names: Iterable[str]) -> None:
    """Refuse a misspelt or unknown `slurm_…` resource, which would otherwise be passed over in silence."""
    if unknown := sorted({name for name in names if name.startswith("slurm_")} - set(SLURM_NAMES)):
        legal = ", ".join(SLURM_NAMES)
        raise WorkflowError(f"resource {unknown[0]}: unknown; known: {legal} (slurm_extra takes any option of sbatch)")


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
    if taken := sorted(set(options) & set(TAKEN)):
        raise WorkflowError(f"resource slurm_extra: --{taken[0]} is set by the submitit executor itself")
    return options
