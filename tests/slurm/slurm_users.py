"""The private cluster for several Unix users of this machine, and the toy in a clone of each.

Only root can run a program as another, and only where that one can read this Python and this checkout. Where they lie
behind a folder that is closed to others (root's home, say), the cluster runs in a mount namespace in which that folder
is an open one, with nothing but them in it. So nothing outside changes, and nothing is copied.
"""

from __future__ import annotations

import copy
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import snakemake_executor_plugin_submitit
from slurm_cluster import PATIENCE_S, Cluster, require, started
from slurm_toy import Toy

PLUGIN = Path(snakemake_executor_plugin_submitit.__file__).parents[1]
RULES = Path(__file__).resolve().parents[2] / "workflow" / "rules"
# Accounts that systems come with and nobody works in.
ACCOUNTS = ("games", "nobody", "news", "mail", "daemon", "bin")
# What an account may not read, or write, of the user's that runs the tests.
OWN = ("XDG_", "TMPDIR", "MPLCONFIGDIR", "HF_", "PYTHON", "HOME", "USER", "LOGNAME")

# Keeps a mount namespace as long as its input is open: closed folders, and what is wanted of them.
HOLDER = """
import json, os, subprocess, sys
closed, wanted = json.loads(sys.argv[1])
opened = {path: os.open(path, os.O_RDONLY) for path in wanted}
for path in closed:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", path], check=True)
for path, number in opened.items():
    os.makedirs(path, exist_ok=True)
    command = ["mount", "--no-canonicalize", "--rbind", f"/proc/self/fd/{number}", path]
    subprocess.run(command, check=True, pass_fds=[number])
print("ready", flush=True)
sys.stdin.read()
"""
START = 'umask "$1" && cd "$2" && shift 2 && exec "$@"'
# A umask with which files are nobody's but their makers', so that what users share by mistake is in the way of one.
PRIVATE = "077"

# Each job says as whom it runs.
SNAKEFILE = """
include: "{locks}"

rule whole:
    input: "part1.txt", "part2.txt"
    output: "whole.txt"
    shell: "cat {{input}} > {{output}}"

rule part:
    output: "part{{n}}.txt"
    resources: mem_mb=300, runtime=5
    shell:
        "id -u >> runs.log; "
        "timeout 1000 sh -c 'until [ -e go ]; do sleep 0.2; done'; "
        "id -u > {{output}}"
"""
# Names of jobs are unique by their last eight digits; here they are not, so that all users' jobs have the same.
SAME_NAMES = "import secrets\nsecrets.token_hex = lambda nbytes=None: '0' * 2 * (nbytes or 32)\n"


def accounts(count: int) -> list[pwd.struct_passwd]:
    """Existing accounts of ordinary users, each with a number of its own."""
    found: dict[int, pwd.struct_passwd] = {}
    for account in pwd.getpwall():
        if account.pw_name in ACCOUNTS and account.pw_uid != 0:
            found.setdefault(account.pw_uid, account)
    chosen = sorted(found.values(), key=lambda account: ACCOUNTS.index(account.pw_name))
    if len(chosen) < count:
        pytest.skip(f"fewer than {count} of the accounts {', '.join(ACCOUNTS)} are here")
    return chosen[:count]


def closed_above(path: Path) -> Path | None:
    """The topmost folder above a path that others may not pass."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None)


class Shared(Cluster):
    """A cluster whose jobs and clients may be any user's: what Python needs is within everybody's reach there."""

    holder: subprocess.Popen[str] | None = None

    def start(self) -> None:
        python = [Path(sys.base_prefix), Path(sys.prefix), Path(sys.executable).resolve().parents[1]]
        needed = (*python, PLUGIN, RULES, self.root)
        wanted = {folder for path in needed for folder in (path.absolute(), path.resolve())}
        self.open_up(sorted(path for path in wanted if closed_above(path)))
        before = os.umask(0o022)
        try:
            for name in ("clones", "same", "tmp"):
                (self.root / name).mkdir()
            (self.root / "same" / "sitecustomize.py").write_text(SAME_NAMES)
            (self.root / "tmp").chmod(0o1777)
            super().start()
        finally:
            os.umask(before)

    def open_up(self, hidden: Sequence[Path]) -> None:
        """Make paths behind closed folders reachable, for what runs `inside`."""
        if not hidden:
            return
        closed = sorted({str(closed_above(path)) for path in hidden})
        spaces = json.dumps([closed, [str(path) for path in hidden]])
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-I", "-c", HOLDER, spaces]
        pipe = subprocess.PIPE
        self.holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self.holder.stdout and self.holder.stderr
        if self.holder.stdout.readline() != "ready\n":
            said = self.holder.stderr.read().strip().splitlines()
            pytest.skip(f"{', '.join(closed)} is closed to others, and cannot be mounted over here: {said[-1:]}")
        self.inside = ("nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt")

    def try_as(self, clone: Clone) -> None:
        """Skip where a clone's user cannot read what it needs."""
        asked = clone.as_user(sys.executable, "-c", "import snakemake.cli, snakemake_executor_plugin_submitit.slurm")
        done = subprocess.run(asked, env=clone.environment, capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode:
            pytest.skip(f"{clone.user.pw_name} cannot read this Python: {done.stderr.strip().splitlines()[-1:]}")

    def cancel_all(self) -> None:
        for account in accounts(2):
            self.run("scancel", "-u", account.pw_name)
        super().cancel_all()

    def stop(self) -> None:
        super().stop()
        if self.holder:
            self.holder.communicate()


class Clone(Toy):
    """The toy in the clone of a user, all of which belongs to that user.

    Args:
        cluster: where its jobs go.
        user: who runs it.
        copied: the clone that it is a copy of, `.snakemake` included; none: it is a new one.
        umask: the user's.
    """

    def __init__(
        self, cluster: Shared, user: pwd.struct_passwd, copied: Clone | None = None, umask: str = PRIVATE
    ) -> None:
        self.cluster, self.umask = cluster, umask
        folder = self.become(user) / "clone"
        shutil.rmtree(folder, ignore_errors=True)
        if copied is None:
            folder.mkdir()
        else:
            shutil.copytree(copied.folder, folder)
        super().__init__(folder, RULES.parents[1], self.environment, rules=SNAKEFILE)
        folder.chmod(0o2777 & ~int(umask, 8))
        for each in (folder, *folder.rglob("*")):
            os.chown(each, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def become(self, user: pwd.struct_passwd) -> Path:
        """Start what is started from now on as that user; returns the user's home."""
        self.user, self.group = user, user.pw_gid
        home = self.cluster.root / "clones" / user.pw_name
        home.mkdir(mode=0o755, exist_ok=True)
        os.chown(home, user.pw_uid, user.pw_gid)
        kept = {name: value for name, value in self.cluster.environment.items() if not name.startswith(OWN)}
        names = {"HOME": str(home), "USER": user.pw_name, "LOGNAME": user.pw_name}
        path = os.pathsep.join([str(self.cluster.root / "same"), str(PLUGIN)])
        self.environment = {**kept, **names, "TMPDIR": str(self.cluster.root / "tmp"), "PYTHONPATH": path}
        return home

    def used_by(self, user: pwd.struct_passwd) -> Clone:
        """The same clone in the hands of another user of its owner's group."""
        other = copy.copy(self)
        other.started = list(self.started)
        other.become(user)
        other.group = self.group
        return other

    def as_user(self, *command: str) -> list[str]:
        """A command as the clone's user, in the clone."""
        become = ["setpriv", "--reuid", str(self.user.pw_uid), "--regid", str(self.group), "--clear-groups"]
        rights = [*become, "--inh-caps", "-all"] if self.user.pw_uid else []
        return [*self.cluster.inside, "sh", "-c", START, "sh", self.umask, str(self.folder), *rights, *command]

    def command(self, *arguments: str, executor: str = "slurm", poll: float = 1, jobs: int = 8) -> list[str]:
        return self.as_user(*super().command(*arguments, executor=executor, poll=poll, jobs=jobs))

    @property
    def jobs(self) -> dict[str, str]:
        """The states of the user's jobs, by their numbers."""
        rows = self.cluster.jobs("%i|%T|%U")
        return {number: state for number, state, user in rows if user == str(self.user.pw_uid)}

    @property
    def strangers(self) -> list[Path]:
        """What the run has put into its user's folder that is not the user's."""
        ours = {self.folder / "go", *(running.printed for running in self.started)}
        found = [path for path in self.folder.parent.rglob("*") if path not in ours]
        return [path for path in found if path.lstat().st_uid != self.user.pw_uid]


def shared_cluster() -> Iterator[Shared]:
    """A cluster for several users; a skip where this user cannot become others."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run as two other users")
    require(("setpriv", "unshare", "nsenter"), "util-linux")
    for cluster in started(Shared):
        assert isinstance(cluster, Shared)
        yield cluster
