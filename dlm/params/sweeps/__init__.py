"""Sweeps: sensitivity studies read from ``params/sweeps/``, as cells of the plan."""

from dlm.params.sweeps.expanded import Alike, Answered, Expanded
from dlm.params.sweeps.expanding import expand
from dlm.params.sweeps.reading import SweepFile, read_sweep, sweep_names
from dlm.params.sweeps.training import with_trainings

__all__ = ["Alike", "Answered", "Expanded", "SweepFile", "expand", "read_sweep", "sweep_names", "with_trainings"]
