"""Params files: what to run, read and validated; and the plan that follows from them."""

from dlm.params.plan import Cell, Layout, Plan, load_plan
from dlm.params.reader import NAME, scales
from dlm.params.schema import Params, load_params

__all__ = ["NAME", "Cell", "Layout", "Params", "Plan", "load_params", "load_plan", "scales"]
