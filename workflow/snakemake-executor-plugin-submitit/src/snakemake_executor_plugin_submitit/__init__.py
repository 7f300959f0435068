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
    folder: Path = field(
        default=Path(".snakemake/submitit"),
        metadata={"help": "Folder of submitit's files, logs and the journal, shared by all nodes."},
    )
