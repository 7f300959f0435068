"""Params files: what to run, read and validated; and the plan that follows from them."""

from dlm.params.cells import Cell
from dlm.params.checking import load_params
from dlm.params.code import code_digest
from dlm.params.layout import Layout
from dlm.params.plan import Plan, load_plan
from dlm.params.reader import NAME, scales
from dlm.params.schema import Params
from dlm.params.stamps import stamped

__all__ = ["NAME", "Cell", "Layout", "Params", "Plan", "code_digest", "load_params", "load_plan", "scales", "stamped"]
