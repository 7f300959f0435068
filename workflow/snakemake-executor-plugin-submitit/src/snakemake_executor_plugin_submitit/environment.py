"""What of this process's environment must not reach SLURM's programs, which take it for options."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, MutableMapping

from snakemake_executor_plugin_submitit.resources import Parameters

# What people set for their own looks at the queue.
HABITS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")
# sbatch's own, which it puts above what a script says. These stand where a job says nothing of the kind.
OF_SBATCH = "SBATCH_"
DEFAULTS = {f"{OF_SBATCH}{name.upper()}": name for name in ("account", "partition", "qos", "reservation")}
# Of an outer job's environment, what says where the cluster is and how to talk to it.
OF_THE_CLUSTER = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
OUTER = (
    "SLURM",
    "SUBMITIT_",
    "PMI",
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ZE_AFFINITY",
)


def forget_outer_job(environment: MutableMapping[str, str]) -> None:
    """Take out of the environment what describes the job that this process itself runs in, if it does.

    sbatch hands the environment on, so what it sets no value of its own for (a place in an array, tasks, memory per
    core, the GPUs) would be taken for the new job's.
    """
    if "SLURM_JOB_ID" not in environment:
        return
    for name in [name for name in environment if name.startswith(OUTER) and name not in OF_THE_CLUSTER]:
        del environment[name]


def for_looking(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the programs that look at the queue, or change it."""
    return {name: value for name, value in environment.items() if not name.startswith(HABITS)}


def unheeded(environment: Mapping[str, str]) -> list[str]:
    """sbatch's variables that count for no job: each says itself what it asks for."""
    return sorted(name for name in environment if name.startswith(OF_SBATCH) and name not in DEFAULTS)


@contextlib.contextmanager
def for_submitting(parameters: Parameters) -> Iterator[None]:
    """This process's environment without sbatch's variables, but for the defaults of what a job does not name.

    Args:
        parameters: submitit's, of the job.
    """
    extra = parameters.get("slurm_additional_parameters")
    named = {name.removeprefix("slurm_") for name in parameters} | set(extra if isinstance(extra, dict) else ())
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(OF_SBATCH) and (name not in DEFAULTS or DEFAULTS[name] in named)
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
