"""A private SLURM cluster on this machine, from Debian's packages: two nodes with two pretend GPUs each.

Everything lies in one folder (configuration, munge key and socket, state, logs), the daemons run in the foreground as
children of the tests, and die with them. Nothing of a SLURM that the machine may have is touched.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from sharing import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun")
NODES = ("n1", "n2")
GPUS = 2
CPUS = 4
MEMORY_MB = 8000
PATIENCE_S = 180
"""How long what has to happen may take: it ends what hangs, and says nothing of how quick a busy machine is."""
# Debian puts daemons there, which an ordinary user's PATH may lack.
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class ClusterError(RuntimeError):
    """The private cluster did not start, or a client of it failed."""


def configuration(root: Path, user: str, min_job_age: int, node_timeout: int, *more: str) -> str:
    """The text of slurm.conf. A requeued job waits until its credential has expired (`cred_expire`, by default 120 s).

    Until then its launch has to have arrived, on a busy machine as well.

    A job over its memory is killed, as seen by accounting that looks every second. One of the partition urgent takes
    the place of others, which go back into the queue.
    """
    controller, *node_ports = (free_port() for _ in range(1 + len(NODES)))
    lines = [
        "ClusterName=testbed",
        f"SlurmctldHost={socket.gethostname().split('.')[0]}(127.0.0.1)",
        f"SlurmctldPort={controller}",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        "AuthType=auth/munge",
        f"AuthInfo=socket={root}/run/munge.sock,cred_expire=12",
        "CredType=cred/munge",
        f"StateSaveLocation={root}/state",
        f"SlurmdSpoolDir={root}/spool/%n",
        f"SlurmctldPidFile={root}/run/slurmctld.pid",
        f"SlurmdPidFile={root}/run/slurmd.%n.pid",
        f"SlurmctldLogFile={root}/log/slurmctld.log",
        f"SlurmdLogFile={root}/log/slurmd.%n.log",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "SlurmdParameters=config_overrides",
        "GresTypes=gpu",
        "ReturnToService=2",
        "MessageTimeout=30",
        f"SlurmdTimeout={node_timeout}",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=1",
        "JobAcctGatherParams=OverMemoryKill",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "KillWait=30",
        f"MinJobAge={min_job_age}",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0",
        f"NodeName=DEFAULT CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:{GPUS} State=UNKNOWN",
        *(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port}"
            for node, port in zip(NODES, node_ports, strict=True)
        ),
        *more,
        "PartitionName=gpu Nodes=ALL Default=YES DefMemPerCPU=500 MaxTime=120 State=UP",
        "PartitionName=cpu Nodes=ALL DefMemPerCPU=500 MaxTime=120 State=UP",
        "PartitionName=urgent Nodes=ALL DefMemPerCPU=500 MaxTime=120 State=UP PriorityTier=10",
    ]
    return "\n".join(lines) + "\n"


class Cluster:
    """The daemons of one private cluster, from `start()` to `stop()`."""

    def __init__(self, root: Path, min_job_age: int = 24 * 3600, node_timeout: int = 60) -> None:
        self.root = root
        self.min_job_age, self.node_timeout = min_job_age, node_timeout
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.more: tuple[str, ...] = ()
        self.inside: tuple[str, ...] = ()  # what starts the daemons, where they run in a namespace

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client needs to find this cluster, and nothing of a job that the tests themselves may run in."""
        foreign = ("SLURM", "SBATCH_", "SRUN_", "SACCT_", "SQUEUE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, "PATH": SEARCH, "SLURM_CONF": str(self.root / "slurm.conf")}

    def start(self) -> None:
        """Write the configuration, start every daemon, wait until both nodes are idle."""
        for name in ("run", "state", "log", "dev", "spool", *(f"spool/{node}" for node in NODES)):
            (self.root / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        self.root.chmod(0o755)  # munge wants its socket within everybody's reach
        self.write_configuration()
        self.pretend_gpus()
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.start_munge(key)
        self.start_accounting()
        self.daemon("slurmctld", "-D", "-i")
        for node in NODES:
            self.daemon("slurmd", "-D", "-N", node)
        self.wait_until_idle(PATIENCE_S)

    def write_configuration(self) -> None:
        (self.root / "slurm.conf").write_text(
            configuration(self.root, getpass.getuser(), self.min_job_age, self.node_timeout, *self.more)
        )

    def pretend_gpus(self) -> None:
        """Devices that are /dev/null: they schedule, are limited and set CUDA_VISIBLE_DEVICES."""
        for number in range(GPUS):
            (self.root / "dev" / f"gpu{number}").symlink_to(os.devnull)
        nodes = f"n[1-{len(NODES)}]"
        line = f"NodeName={nodes} Name=gpu File={self.root}/dev/gpu[0-{GPUS - 1}] Flags=nvidia_gpu_env\n"
        (self.root / "gres.conf").write_text(line)

    def start_munge(self, key: Path) -> None:
        run, log = self.root / "run", self.root / "log"
        places = {"pid-file": run / "munged.pid", "log-file": log / "munged.log", "seed-file": run / "munged.seed"}
        options = [f"--{name}={path}" for name, path in places.items()]
        self.daemon("munged", "--foreground", f"--key-file={key}", f"--socket={run / 'munge.sock'}", *options)
        self.wait_for(lambda: (run / "munge.sock").exists(), PATIENCE_S, "munged made no socket")

    def start_accounting(self) -> None:
        """None, as on many a small cluster."""

    def daemon(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=SEARCH)
        assert path is not None, f"{program} is not installed"
        # so that a killed test run leaves no daemon behind
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with open(self.root / "log" / f"{program}.out", "ab") as output:
            self.daemons[f"{program} {arguments[-1]}" if program == "slurmd" else program] = subprocess.Popen(
                [*self.inside, *bound, path, *arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill_node(self, node: str) -> None:
        """All that a node runs, at once: its slurmd, the steps of its jobs, and what these have started."""
        spool = f"{self.root / 'spool' / node}/"  # where each step listens; jobs of other clusters may have its number
        doomed = [psutil.Process(self.daemons.pop(f"slurmd {node}").pid)]
        for process in psutil.process_iter(["cmdline"]):
            if not (process.info["cmdline"] or [""])[0].startswith("slurmstepd"):
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(str(place.laddr).startswith(spool) for place in process.net_connections("unix")):
                    doomed += [process, *process.children(recursive=True)]
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def revive_node(self, node: str) -> None:
        self.daemon("slurmd", "-D", "-N", node)
        self.wait_until_idle(PATIENCE_S)

    def node_state(self, node: str) -> str:
        return self.client("sinfo", "-h", "-N", "-n", node, "-p", "gpu", "-o", "%T").strip()

    def save_state(self, job_id: str) -> None:
        """Wait until the controller has written down what it knows now of its jobs, which it does every 5 s.

        One that is killed before would remember neither what it started since nor which numbers it gave away.
        """
        token = f"saved-{time.time_ns()}"
        self.client("scontrol", "update", f"jobid={job_id}", f"comment={token}")

        def saved() -> bool:
            with contextlib.suppress(OSError):  # it is replaced by being removed first
                return token.encode() in (self.root / "state" / "job_state").read_bytes()
            return False

        self.wait_for(saved, PATIENCE_S, "no state was saved")

    def kill_controller(self) -> None:
        controller = self.daemons.pop("slurmctld")
        controller.kill()
        controller.wait()

    def revive_controller(self) -> None:
        """It finds the jobs that it had."""
        self.daemon("slurmctld", "-D")
        self.wait_for(lambda: self.run("scontrol", "ping").stdout.count("UP") == 1, PATIENCE_S, "no controller")

    def wait_until_idle(self, seconds: float) -> None:
        def idle() -> bool:
            done = self.run("sinfo", "-h", "-N", "-p", "gpu", "-o", "%T")
            states = done.stdout.split()
            if any(state.startswith(("inval", "drain")) for state in states):
                raise ClusterError(f"nodes are {states}\n{self.logs()}")
            return done.returncode == 0 and states == ["idle"] * len(NODES)

        self.wait_for(idle, seconds, "the nodes did not become idle")

    def wait_for(self, condition: object, seconds: float, complaint: str) -> None:
        assert callable(condition)
        end = time.monotonic() + seconds
        while not condition():
            died = [daemon.args for daemon in self.daemons.values() if daemon.poll() is not None]
            if died or time.monotonic() > end:
                raise ClusterError(f"{complaint}; ended: {died}\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        """The last lines of every daemon's log."""
        parts = []
        for path in sorted((self.root / "log").iterdir()):
            lines = path.read_text(errors="replace").splitlines()[-15:]
            parts.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(parts)

    def run(self, *command: str, timeout: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """A client of this cluster, never waited for without end."""
        return subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, timeout=timeout)

    def client(self, *command: str, timeout: float = PATIENCE_S) -> str:
        """What a client printed; a failure is an error."""
        done = self.run(*command, timeout=timeout)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self, fields: str = "%i|%T|%j") -> list[list[str]]:
        """Every job the controller remembers, a list of fields each, oldest first."""
        lines = self.client("squeue", "-h", "-r", "--states=all", "-S", "i", "-o", fields).splitlines()
        return [line.split("|") for line in lines]

    def cancel_all(self) -> None:
        """Cancel what is left, wait until its processes are gone, and take back nodes that a failed test drained."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("scancel", "-u", getpass.getuser())
            end = time.monotonic() + PATIENCE_S
            while self.run("squeue", "-h").stdout.strip() and time.monotonic() < end:
                time.sleep(0.2)
            if "drain" in self.run("sinfo", "-h", "-N", "-p", "gpu", "-o", "%T").stdout:
                self.run("scontrol", "update", f"nodename={','.join(NODES)}", "state=resume")

    def stop(self) -> None:
        """End every job, then every daemon, the last started first."""
        self.cancel_all()
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.send_signal(signal.SIGKILL)
                daemon.wait()
        self.daemons.clear()


def require(programs: Iterable[str], packages: str) -> None:
    """Skip where programs are not installed; in CI fail instead, unless they cannot be installed there."""
    if missing := [name for name in programs if shutil.which(name, path=SEARCH) is None]:
        reason = f"needs Debian's packages {packages}: no {', '.join(missing)} here"
        (pytest.fail if os.environ.get("CI") == "true" and shutil.which("apt-get") else pytest.skip)(reason)


def started(kind: type[Cluster] = Cluster, **settings: int) -> Iterator[Cluster]:
    """A cluster. Not in pytest's folder: a socket's path must be short."""
    require(PROGRAMS, "slurm-wlm and munge")
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = kind(root, **settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(root, ignore_errors=True)
