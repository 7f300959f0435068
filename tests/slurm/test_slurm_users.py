"""Several users' runs at once, each in its own clone, on one cluster: none sees, ends or waits for another's jobs."""

from __future__ import annotations

import os
import pwd
import re
import signal
from collections.abc import Iterator

import pytest
from slurm_toy import eventually
from slurm_users import Clone, Shared, accounts, shared_cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def users() -> Iterator[Shared]:
    """A cluster that root and other users may use."""
    yield from shared_cluster()


def numbers(text: str, words: str) -> list[str]:
    """The numbers of jobs in a run's line."""
    (line,) = re.findall(rf"{words}(.*)", text)
    return sorted(re.findall(r"\d+_\d+", line))


def running(clone: Clone) -> bool:
    """Whether both jobs of the clone's user run, and have said so."""
    said = clone.exists("runs.log") and clone.read("runs.log").split()
    return list(clone.jobs.values()) == ["RUNNING"] * 2 and said == [str(clone.user.pw_uid)] * 2


def test_two_users_and_root_do_not_disturb_each_other(users: Shared) -> None:
    """Their jobs have the same names, their rules and outputs too. Each may end what is its own, and root even more."""
    games, nobody = accounts(2)
    one = Clone(users, games)
    users.try_as(one)
    root = Clone(users, pwd.getpwuid(0))
    clones = [one, root]
    try:
        first, roots = one.start("whole.txt"), root.start("whole.txt")
        eventually(lambda: running(one) and running(root))
        # Begun as a copy of somebody's clone in the middle of a run: with its lock, its claim and its journal.
        other = Clone(users, nobody, copied=one)
        (other.folder / "runs.log").unlink()
        clones.append(other)
        assert len(other.journal) == 2
        second = other.start("whole.txt")
        eventually(lambda: running(other))
        assert "Attached" not in second.text and "Ending" not in second.text
        assert len({name for _, _, name in users.jobs()}) == 1

        roots.interrupt(signal.SIGTERM)
        assert roots.wait() == 1
        assert numbers(roots.text, "Cancelled 2 SLURM jobs: ") == sorted(root.jobs)
        eventually(lambda: set(root.jobs.values()) == {"CANCELLED"})
        assert running(one) and running(other)

        first.kill()
        again = one.start("whole.txt")
        eventually(lambda: again.text.count("Attached to SLURM job") == 2)
        assert sorted(re.findall(r"Attached to SLURM job (\S+)", again.text)) == sorted(one.jobs)
        lost, kept = sorted(one.jobs)
        users.client("scancel", lost)  # which nobody sees who takes another's job of this name for it
        eventually(lambda: re.search(rf"SLURM job {lost} \(\S+\) ended CANCELLED", again.text) is not None)
        again.interrupt()
        assert again.wait() == 1
        assert numbers(again.text, "Cancelled 1 SLURM job: ") == [kept]
        eventually(lambda: set(one.jobs.values()) == {"CANCELLED"})

        assert running(other)
        other.go()
        second.good()
        eventually(lambda: list(other.jobs.values()) == ["COMPLETED"] * 3)
        assert other.read("whole.txt") == f"{nobody.pw_uid}\n" * 2
        assert not one.exists("whole.txt") and not root.exists("whole.txt")
        assert [clone.strangers for clone in clones] == [[], [], []]
    finally:
        for clone in clones:
            clone.stop()


def test_a_clone_of_a_group_goes_on_after_a_members_run_was_killed(users: Shared) -> None:
    """Each can tell that another's run is dead, and whose lives."""
    games, nobody = accounts(2)
    one = Clone(users, games, umask="002")
    users.try_as(one)
    member = one.used_by(nobody)
    try:
        first = one.start("part1.txt", executor="none")
        eventually(lambda: one.exists("runs.log"))
        refused = member.run("part1.txt", executor="none")
        assert refused.wait() == 1
        assert f"Snakemake runs here: process {first.process.pid} on {os.uname().nodename}" in refused.text
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
        one.go()
        member.run("part1.txt", executor="none").good()
        assert member.read("part1.txt") == f"{nobody.pw_uid}\n"
    finally:
        one.stop()
        member.stop()
