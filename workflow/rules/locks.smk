# A lock that a killed Snakemake left behind is released at the next start; the lock of a living one is not.
#
# Snakemake locks the files of a run in .snakemake/locks and removes the lock at its end, but does not note who holds it.
# So each run leaves a claim in .snakemake/owners: a file that says where it runs and that it keeps locked (flock) while
# it lives. The kernel lets go of such a lock when its process dies, however it dies. A run that finds only claims of the
# dead removes what they left behind; where an owner lives, or nobody here can tell, it is for Snakemake to decide. A run
# within a SLURM job that was requeued, perhaps onto another node, knows that what the job ran before is gone.

import atexit
import contextlib
import fcntl
import json
import platform
import shutil
import sys
import tempfile


def boot():
    """Which boot of which kernel this is, since a kernel knows who lives; None where there is no telling."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def slurm_job():
    """The SLURM job that this run is part of, and how often it was requeued; None outside of one."""
    if "SLURM_JOB_ID" not in os.environ:
        return None
    asked = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_RESTART_COUNT")
    cluster, job, restarts = (os.environ.get(name, "") for name in asked)
    return {"job": f"{cluster} {job}", "restarts": int(restarts or 0)}


def is_before_requeue(owner):
    """Whether a claim is this SLURM job's own, of an earlier start of it."""
    then, now = owner.get("slurm"), slurm_job()
    return bool(then and now) and then["job"] == now["job"] and then["restarts"] < now["restarts"]


def claim(folder):
    """Leave this run's claim, locked before anybody can see it. The open file holds the lock, so it is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    stream = tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False)
    with contextlib.suppress(OSError):  # a file system without rights of files
        os.fchmod(stream.fileno(), 0o664)  # whose it is concerns all who may enter the folder
    with contextlib.suppress(OSError):  # a file system without such locks: nobody will be able to tell
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    json.dump({"host": platform.node(), "boot": boot(), "pid": os.getpid(), "slurm": slurm_job()}, stream)
    stream.flush()
    path = folder.absolute() / f"{Path(stream.name).name[1:]}.json"
    os.replace(stream.name, path)
    atexit.register(path.unlink, missing_ok=True)
    return stream


def owner_of(path):
    """What a claim says of its owner."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {"host": "an unknown machine", "boot": "unknown", "pid": "unknown"}


def is_dead(path):
    """Whether the owner of a claim is certainly dead."""
    owner = owner_of(path)
    if is_before_requeue(owner):
        return True
    with contextlib.suppress(OSError), open(path, "r+" if os.access(path, os.W_OK) else "r") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another machine's lock need not be visible here. One that has been started anew has lost its processes.
        return owner["boot"] == boot() or owner["host"] == platform.node()
    return not path.exists()


def release_dead_locks(folder):
    """Forget the dead, and remove the lock if no other owner is left; else say who may hold it."""
    others = []
    for path in sorted((folder / "owners").glob("*.json")):
        if "--unlock" in sys.argv or is_dead(path):
            with contextlib.suppress(PermissionError):  # another user's, who forgets it at the next start
                path.unlink(missing_ok=True)
        else:
            others.append(owner_of(path))
    locks = folder / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        for owner in others:
            print(f"Snakemake runs here: process {owner['pid']} on {owner['host']}", file=sys.stderr)
        if not others:
            shutil.rmtree(locks, ignore_errors=True)


if workflow.is_main_process:
    release_dead_locks(Path(".snakemake"))
    CLAIM = claim(Path(".snakemake/owners"))
