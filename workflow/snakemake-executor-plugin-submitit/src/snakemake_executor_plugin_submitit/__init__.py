"""Snakemake executor plugin `submitit`: each job or group of jobs is one submitit job.

On SLURM, as processes of this machine, or in this process. See the README for the settings and the resource table.
"""

from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=1,
    pass_group_args=True,
)


# Snakemake reads the fields' types, which `from __future__ import annotations` would turn into strings.
@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """The options `--submitit-…`, in a profile `submitit-…`."""

    cluster: str = field(
        default="slurm",
        metadata={
            "help": "Where jobs run: slurm, local (processes of this machine) or debug (this process, one by one).",
            "choices": ["slurm", "local", "debug"],
        },
    )
    partition: str = field(
        default="",
        metadata={"help": "SLURM partition of jobs without a resource slurm_partition (default: SLURM's own)."},
    )
    account: str = field(
        default="",
        metadata={"help": "SLURM account of jobs without a resource slurm_account (default: SLURM's own)."},
    )
    poll: float = field(
        default=5.0,
        metadata={"help": "Seconds between two looks at the queue; result files are looked at every second."},
    )
    array_size: int = field(
        default=1000,
        metadata={
            "help": "Most ready jobs of a rule that go up as one array, within SLURM's own limit; 1: each on its own.",
            "type": int,
        },
    )
    array_parallelism: int = field(
        default=256,
        metadata={"help": "Most tasks of one array that run at the same time.", "type": int},
    )
    attempts: int = field(
        default=6,
        metadata={
            "help": "How often a submission is tried where its failure may pass: pauses of 1, 2, 4, … s.",
            "type": int,
        },
    )
    more_memory: float = field(
        default=2.0,
        metadata={"help": "What mem_mb is multiplied by when a job that ran out of memory is retried.", "type": float},
    )
    more_time: float = field(
        default=2.0,
        metadata={"help": "What runtime is multiplied by when a job that ran out of time is retried.", "type": float},
    )
    timeouts: int = field(
        default=10,
        metadata={
            "help": "How many time limits a job with signal_s may reach and be requeued; then it has run out of time.",
            "type": int,
        },
    )
    folder: Path = field(
        default=Path(".snakemake/submitit"),
        metadata={"help": "Folder of submitit's files, logs and the journal, shared by all nodes."},
    )
