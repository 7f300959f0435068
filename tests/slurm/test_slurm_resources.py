"""Snakemake's resources in SLURM's words: a pure function and its documented table."""

from __future__ import annotations

from pathlib import Path

import pytest
from snakemake_executor_plugin_submitit.resources import TABLE, extra_options, submission
from snakemake_interface_common.exceptions import WorkflowError

PLUGIN = Path("workflow") / "snakemake-executor-plugin-submitit"


def test_a_job_that_asks_for_nothing() -> None:
    assert submission({"tmpdir": "<TBD>", "_cores": 2}, 2, "train.a-1") == {
        "name": "train.a-1",
        "timeout_min": 60,
        "cpus_per_task": 2,
        "nodes": 1,
        "tasks_per_node": 1,
        "stderr_to_stdout": True,
        "slurm_signal_delay_s": 0,
        "slurm_srun_args": ["--cpus-per-task=2"],
    }


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"mem_mb": 300}, {"mem_gb": 300 / 1024}),
        ({"runtime": 1440}, {"timeout_min": 1440}),
        ({"cpus_per_task": 6}, {"cpus_per_task": 6, "slurm_srun_args": ["--cpus-per-task=6"]}),
        ({"gpu": 2}, {"gpus_per_node": 2}),
        ({"nodes": 2}, {"nodes": 2, "tasks_per_node": 1, "slurm_use_srun": False}),
        ({"nodes": 2, "tasks": 8}, {"nodes": 2, "tasks_per_node": 4, "slurm_use_srun": False}),
        ({"slurm_partition": "gpu"}, {"slurm_partition": "gpu"}),
        ({"slurm_account": "people"}, {"slurm_account": "people"}),
        ({"slurm_qos": "night"}, {"slurm_qos": "night"}),
        ({"slurm_constraint": "a100&nvlink"}, {"slurm_constraint": "a100&nvlink"}),
        ({"slurm_extra": "--nice=3"}, {"slurm_additional_parameters": {"nice": "3"}}),
    ],
)
def test_each_resource_becomes_its_parameter(resources: dict[str, object], expected: dict[str, object]) -> None:
    parameters = submission(resources, 1, "job")
    assert {name: parameters[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["gpu", "slurm_partition", "slurm_extra"])
def test_nothing_and_zero_are_not_asked_for(name: str) -> None:
    empty = 0 if name == "gpu" else ""
    assert submission({name: empty}, 1, "job") == submission({}, 1, "job")


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"slurm_gres": "gpu:1"}, "resource slurm_gres: unknown; known: slurm_partition, slurm_account"),
        ({"gpu": "a100"}, "resource gpu: expected a whole number of at least 0, found 'a100'"),
        ({"nodes": 0}, "resource nodes: expected a whole number of at least 1, found 0"),
        ({"runtime": True}, "resource runtime: expected a whole number"),
        ({"nodes": 2, "tasks": 3}, "3 tasks cannot be spread evenly over 2 nodes"),
        ({"slurm_extra": "-p gpu"}, "resource slurm_extra: expected --name=value, found '-p'"),
        ({"slurm_extra": "--output=x"}, "resource slurm_extra: --output is set by the submitit executor itself"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(resources: dict[str, object], message: str) -> None:
    with pytest.raises(WorkflowError) as refusal:
        submission(resources, 1, "job")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


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
