"""Snakemake's resources in SLURM's words: a pure function and its documented table."""

from __future__ import annotations

from pathlib import Path

import pytest
from snakemake_executor_plugin_submitit.resources import (
    MISTAKEN,
    STEP,
    TABLE,
    extra_options,
    of_group,
    refuse_unknown,
    submission,
)
from snakemake_interface_common.exceptions import WorkflowError

PLUGIN = Path("workflow") / "snakemake-executor-plugin-submitit"


def test_a_job_that_asks_for_nothing() -> None:
    assert submission({"tmpdir": "<TBD>", "_cores": 2}, 2) == {
        "timeout_min": 60,
        "cpus_per_task": 2,
        "nodes": 1,
        "tasks_per_node": 1,
        "stderr_to_stdout": True,
        "slurm_signal_delay_s": 0,
        **STEP,
        "slurm_additional_parameters": {"requeue": True},
    }


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"mem_mb": 300}, {"mem_gb": 300 / 1024}),
        ({"runtime": 1440}, {"timeout_min": 1440}),
        ({"cpus_per_task": 6}, {"cpus_per_task": 6}),
        ({"gpu": 2}, {"gpus_per_node": 2}),
        # what is said for each GPU grows with them, and counts where it is more; cores are a task's
        (
            {"gpu": 0, "cpus_per_gpu": 8, "mem_mb_per_gpu": 96000, "mem_mb": 3000},
            {"cpus_per_task": 1, "mem_gb": 3000 / 1024},
        ),
        ({"gpu": 8, "cpus_per_gpu": 8, "mem_mb_per_gpu": 96000, "mem_mb": 3000}, {"cpus_per_task": 64, "mem_gb": 750}),
        ({"gpu": 3, "cpus_per_gpu": 3, "tasks": 2}, {"cpus_per_task": 5}),
        ({"gpu": 1, "cpus_per_gpu": 2, "cpus_per_task": 6}, {"cpus_per_task": 6}),
        ({"nodes": 2}, {"nodes": 2, "tasks_per_node": 1}),
        ({"nodes": 2, "tasks": 8}, {"nodes": 2, "tasks_per_node": 4}),
        ({"slurm_partition": "gpu"}, {"slurm_partition": "gpu"}),
        ({"slurm_account": "people"}, {"slurm_account": "people"}),
        ({"slurm_qos": "night"}, {"slurm_qos": "night"}),
        ({"slurm_constraint": "a100&nvlink"}, {"slurm_constraint": "a100&nvlink"}),
        ({"slurm_extra": "--nice=3"}, {"slurm_additional_parameters": {"requeue": True, "nice": "3"}}),
        ({"slurm_extra": "--no-requeue"}, {"slurm_additional_parameters": {"no-requeue": True}}),
        ({"signal_s": 120}, {"slurm_additional_parameters": {"requeue": True, "signal": "B:USR2@120"}}),
    ],
)
def test_each_resource_becomes_its_parameter(resources: dict[str, object], expected: dict[str, object]) -> None:
    parameters = submission(resources, 1)
    assert {name: parameters[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["gpu", "slurm_partition", "slurm_extra"])
def test_nothing_and_zero_are_not_asked_for(name: str) -> None:
    empty = 0 if name == "gpu" else ""
    assert submission({name: empty}, 1) == submission({}, 1)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpu": "a100"}, "resource gpu: expected a whole number of at least 0, found 'a100'"),
        ({"nodes": 0}, "resource nodes: expected a whole number of at least 1, found 0"),
        ({"runtime": True}, "resource runtime: expected a whole number"),
        ({"signal_s": 60, "runtime": 2}, "resource signal_s: a signal 60 s before the end, or up to 60 s earlier as"),
        ({"nodes": 2, "tasks": 3}, "3 tasks cannot be spread evenly over 2 nodes"),
        ({"slurm_extra": "-p gpu"}, "resource slurm_extra: expected --name=value, found '-p'"),
        ({"slurm_extra": "--output=x"}, "resource slurm_extra: --output is set by the submitit executor itself"),
        ({"slurm_extra": "--clusters=far"}, "resource slurm_extra: --clusters is set by the submitit executor itself"),
        ({"slurm_extra": "--wait"}, "resource slurm_extra: --wait is set by the submitit executor itself"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(resources: dict[str, object], message: str) -> None:
    with pytest.raises(WorkflowError) as refusal:
        submission(resources, 1)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slurm_gres", "resource slurm_gres: unknown; known: slurm_partition, slurm_account"),
        ("gpus", "resource gpus: unknown, gpu is meant; known: threads, cpus_per_task"),
        ("mem_mb_per_cpu", "resource mem_mb_per_cpu: unknown, mem_mb is meant"),
        ("partition", "resource partition: unknown, slurm_partition is meant"),
        ("walltime", "resource walltime: unknown, runtime is meant"),
        ("reservation", "resource reservation: unknown, slurm_extra is meant"),
    ],
)
def test_names_of_others_are_refused_with_the_one_that_is_meant(name: str, message: str) -> None:
    with pytest.raises(WorkflowError) as refusal:
        refuse_unknown(["mem_mb", name])
    assert message in str(refusal.value)
    refuse_unknown([name], own=[name])  # it is in the user's --resources


def test_no_name_of_the_table_is_taken_for_a_mistake() -> None:
    names = [row.resource for row in TABLE]
    refuse_unknown([*names, "tmpdir", "mem", "disk_mb", "_cores", "licence_of_my_own"])
    assert set(MISTAKEN.values()) <= set(names)


def test_a_group_asks_once_for_what_is_of_the_job() -> None:
    part = {"nodes": 2, "tasks": 4, "signal_s": 60, "gpu": 1, "mem_mb": 100}
    assert of_group([part, part, {"nodes": 1, "mem_mb_per_gpu": 5, "tasks": "<TBD>"}]) == {
        "nodes": 2,
        "tasks": 4,
        "signal_s": 60,
        "mem_mb_per_gpu": 5,
    }


def test_options_of_sbatch_are_read_as_its_command_line_would() -> None:
    text = "--exclusive --nice=3 --reservation 'my own' --mail-type=END,FAIL"
    assert extra_options(text) == {
        "exclusive": True,
        "nice": "3",
        "reservation": "my own",
        "mail-type": "END,FAIL",
    }


@pytest.mark.parametrize("page", [Path("docs") / "slurm.md", PLUGIN / "README.md"], ids=["docs", "readme"])
def test_the_documented_table_is_the_table(repository: Path, page: Path) -> None:
    lines = (repository / page).read_text().splitlines()
    for row in TABLE:
        option = f"`{row.option}`" if row.option.startswith("--") else row.option
        assert f"| `{row.resource}` | {option} | {row.meaning} |" in lines
