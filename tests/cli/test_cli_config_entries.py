"""What stands behind Snakemake's `--config`."""

from __future__ import annotations

import pytest

from dlm.cli.config_entries import asks_for_gpus, refuse_bare
from dlm.errors import SettingsError


@pytest.mark.parametrize(
    "line",
    [
        "results/tables/table1.csv --config scale=micro",
        "-C scale=micro --cores 2 all",
        "-n results/tables/table1.csv",
        "--config scale= -n",
        "--config scale=micro --profile slurm",
    ],
)
def test_key_and_value_pass(line: str) -> None:
    refuse_bare(line.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("t.csv --config scale micro", "--config scale: no key=value; write --config scale=micro"),
        ("-C scale -n", "--config scale: no key=value; write --config scale=…"),
        ("--config scale=micro results/tables/table1.csv", "table1.csv: no key=value; targets stand before --config"),
        ("--config scale=micro all", "--config all: no key=value; targets stand before --config"),
    ],
)
def test_what_is_no_key_and_value_is_refused_with_what_was_meant(line: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        refuse_bare(line.split())
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    ("line", "gpus"),
    [("t.csv", False), ("t.csv --config scale=paper", True), ("-C scale=micro", False), ("-C scale=nowhere", False)],
)
def test_a_profile_learns_whether_the_scale_asks_for_gpus(line: str, gpus: bool) -> None:
    assert asks_for_gpus(line.split()) is gpus
