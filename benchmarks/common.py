"""What every benchmark says of itself: the machine, the commit, the memory, and where its record lies."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlm.files import atomic_open
from dlm.provenance import code_version, library_versions

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """Return this machine in words: processor, cores that may be used, memory, the GPU that this process used."""
    processor = next(_values("/proc/cpuinfo", "model name"), platform.machine())
    gib = int(next(_values("/proc/meminfo", "MemTotal"), "0 kB").split()[0]) / 2**20
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_initialized() else "no GPU"
    return f"{processor}, {len(os.sched_getaffinity(0))} cores, {gib:.0f} GiB of memory, {gpu} used"


def memory_mib(peak: bool = False) -> float:
    """Return the resident memory of this process in MiB: now, or at its peak."""
    return int(next(_values("/proc/self/status", "VmHWM" if peak else "VmRSS")).split()[0]) / 1024


def run_alone(script: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark script in a process of its own on one thread; return the JSON it printed last."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def record(name: str, result: dict[str, Any]) -> Path:
    """Write ``result`` with date, machine, load, commit and versions to ``benchmarks/results/NAME.json``."""
    about = {
        "benchmark": name,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 2),
        "code": code_version(),
        "libraries": library_versions("torch", "transformers"),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    with atomic_open(path) as stream:
        stream.write(json.dumps({**about, **result}, indent=2).encode() + b"\n")
    return path


def demand(claims: Mapping[str, bool]) -> None:
    """End the script with the claims that do not hold, if there are any.

    Raises:
        SystemExit: naming them.
    """
    if broken := [claim for claim, holds in claims.items() if not holds]:
        raise SystemExit(f"does not hold: {'; '.join(broken)}")


def _values(file: str, key: str) -> Any:
    if Path(file).is_file():
        for line in Path(file).read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                yield value.strip()
