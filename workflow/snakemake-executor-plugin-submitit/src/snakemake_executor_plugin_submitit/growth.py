"""A job that failed for want of memory or time asks for more when it is submitted again (Snakemake's retries)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from snakemake_executor_plugin_submitit.reports import Cause
from snakemake_executor_plugin_submitit.resources import DEFAULT_RUNTIME_MIN

# What is asked for more of, after which cause, and how much was asked for where nothing was said.
GROWING = (
    ("mem_mb", Cause.MEMORY, 0),
    ("mem_mb_per_gpu", Cause.MEMORY, 0),
    ("runtime", Cause.TIME, DEFAULT_RUNTIME_MIN),
)


class Growth:
    """How often each job has run out of what, in this run of Snakemake.

    Args:
        memory, time: what to multiply by each time; 1 asks for the same again.
    """

    def __init__(self, memory: float, time: float) -> None:
        self.factors = {Cause.MEMORY: memory, Cause.TIME: time}
        self.times: Counter[tuple[tuple[str, ...], Cause]] = Counter()

    def note(self, outputs: tuple[str, ...], cause: Cause) -> None:
        """Note why the job that makes these files failed."""
        self.times[outputs, cause] += 1

    def grown(self, outputs: tuple[str, ...], resources: Mapping[str, object]) -> dict[str, object]:
        """The resources of the job that makes these files, with as much more as it has been short of.

        Of memory that it never asked for nobody knows how much it had, so it stays as it is.
        """
        grown = dict(resources)
        for name, cause, default in GROWING:
            times = self.times[outputs, cause]
            value = grown.get(name, default)
            if times and isinstance(value, int) and value > 0:
                grown[name] = math.ceil(value * self.factors[cause] ** times)
        return grown
