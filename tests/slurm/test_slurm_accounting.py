"""Accounting that is really there: slurmdbd on a MariaDB of its own, asked about jobs that squeue has forgotten."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sharing import free_port
from slurm_cluster import PATIENCE_S, SEARCH, Cluster, require, started
from slurm_toy import Toy, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

DATABASE = ("slurmdbd", "mariadbd", "mariadb-install-db", "my_print_defaults", "sacct")


class Accounted(Cluster):
    """A cluster that keeps accounts."""

    def start_accounting(self) -> None:
        port = free_port()
        munge = self.root / "run" / "munge.sock"
        # the socket's path stands where a password would
        self.more = (
            "AccountingStorageType=accounting_storage/slurmdbd",
            "AccountingStorageHost=127.0.0.1",
            f"AccountingStoragePort={port}",
            f"AccountingStoragePass={munge}",
            "AccountingStorageTRES=gres/gpu",
        )
        self.write_configuration()
        self.start_database()
        settings = (
            "AuthType=auth/munge",
            f"AuthInfo=socket={munge}",
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={port}",
            f"SlurmUser={getpass.getuser()}",
            f"LogFile={self.root}/log/slurmdbd.log",
            f"PidFile={self.root}/run/slurmdbd.pid",
            "StorageType=accounting_storage/mysql",
            "StorageHost=localhost",
            f"StorageUser={getpass.getuser()}",
            "StorageLoc=accounts",
        )
        (self.root / "slurmdbd.conf").write_text("\n".join(settings) + "\n")
        (self.root / "slurmdbd.conf").chmod(0o600)
        self.daemon("slurmdbd", "-D")
        self.wait_for(lambda: self.run("sacctmgr", "-n", "show", "cluster").returncode == 0, PATIENCE_S, "no slurmdbd")

    def start_database(self) -> None:
        data, at = self.root / "db", self.root / "run" / "db.sock"
        path = shutil.which("mariadb-install-db", path=SEARCH)
        assert path is not None
        user = f"--user={getpass.getuser()}"
        options = (f"--datadir={data}", user, "--auth-root-authentication-method=socket", "--skip-test-db")
        subprocess.run([path, "--no-defaults", *options], check=True, capture_output=True, timeout=PATIENCE_S)
        self.daemon(
            "mariadbd", "--no-defaults", f"--datadir={data}", user, "--skip-networking", f"--socket={at}",
            f"--pid-file={self.root}/run/mariadb.pid", "--innodb-buffer-pool-size=64M",
        )  # fmt: skip
        self.wait_for(at.exists, PATIENCE_S, "mariadbd made no socket")

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MYSQL_UNIX_PORT": str(self.root / "run" / "db.sock")}


@pytest.fixture(scope="module")
def accounted() -> Iterator[Cluster]:
    require(DATABASE, "slurmdbd, mariadb-server-core and mariadb-client-core")
    if os.getuid() != 0:
        pytest.skip("MariaDB lets its maker in by the socket only as root")
    yield from started(Accounted)


def test_the_accounts_say_how_jobs_ended_that_squeue_has_forgotten(
    accounted: Cluster, tmp_path: Path, repository: Path
) -> None:
    """One is cancelled, one ends well; squeue, asked by nobody else here, has forgotten the first at once.

    It answers nothing from before the first is cancelled until the accounts know of it: it forgets no job that runs.
    """
    toy = Toy(tmp_path, repository, accounted.environment)
    forgotten, asked, wait = tmp_path / "forgotten", tmp_path / "asked", tmp_path / "wait"
    answer = f'said=$(REAL "$@") || exit; while [ -e {wait} ]; do sleep 0.1; done'
    forget = f"if [ -e {forgotten} ]; then grep -v -f {forgotten}; else cat; fi"
    wrapped(toy, "squeue", f'{answer}; printf "%s\n" "$said" | {forget}')
    wrapped(toy, "sacct", f'echo "$*" >> {asked}; REAL "$@"')
    running = toy.start("part1.txt", "part2.txt", "--keep-going")
    try:
        eventually(lambda: toy.exists("runs.log") and len(toy.read("runs.log").split()) == 2)
        assert not asked.exists()  # as long as squeue knows them all
        first = accounted.jobs()[0][0]
        wait.touch()
        accounted.client("scancel", first)
        asking = ("sacct", "-n", "-X", "-j", first, "-o", "State")
        eventually(lambda: "CANCELLED" in accounted.client(*asking), PATIENCE_S)
        forgotten.write_text(f"^{first} \n")
        wait.unlink()
        eventually(lambda: "Error in rule" in running.text)
        toy.go()
        assert running.wait() == 1
    finally:
        toy.stop()
    assert "ended CANCELLED" in running.text
    assert "no longer known to SLURM" not in running.text
    assert all(f"-j {first}" in line for line in asked.read_text().splitlines())
    assert sorted(path.name for path in tmp_path.glob("part*.txt")) in (["part1.txt"], ["part2.txt"])


def wrapped(toy: Toy, program: str, script: str) -> None:
    """Have a client of SLURM be a script, in which REAL is the client itself."""
    real = shutil.which(program, path=toy.environment["PATH"])
    assert real is not None
    folder = toy.folder / "bin"
    folder.mkdir(exist_ok=True)
    (folder / program).write_text(f"#!/bin/bash\n{script.replace('REAL', real)}\n")
    (folder / program).chmod(0o755)
    if not toy.environment["PATH"].startswith(f"{folder}:"):
        toy.environment["PATH"] = f"{folder}:{toy.environment['PATH']}"
