"""A private SLURM cluster and the toy workflow."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, missing_programs
from slurm_toy import Toy


def require_slurm() -> None:
    """Skip where SLURM is not installed; in CI fail instead, unless it cannot be installed there."""
    if missing := missing_programs():
        reason = f"needs Debian's packages slurm-wlm and munge: no {', '.join(missing)} here"
        (pytest.fail if os.environ.get("CI") == "true" and shutil.which("apt-get") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes, two pretend GPUs each. Not in pytest's folder: a socket's path must be short."""
    require_slurm()
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = Cluster(root)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def idle(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, without jobs before and after."""
    cluster.cancel_all()
    yield cluster
    cluster.cancel_all()


@pytest.fixture
def toy(idle: Cluster, tmp_path: Path, repository: Path) -> Iterator[Toy]:
    """The toy workflow on the cluster."""
    toy = Toy(tmp_path, repository, idle.environment)
    yield toy
    toy.stop()


@pytest.fixture
def local_toy(tmp_path: Path, repository: Path) -> Iterator[Toy]:
    """The toy workflow without a cluster."""
    toy = Toy(tmp_path, repository)
    yield toy
    toy.stop()
