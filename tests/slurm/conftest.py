"""A private SLURM cluster and the toy workflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, started
from slurm_toy import Toy


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes, two pretend GPUs each."""
    yield from started()


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
