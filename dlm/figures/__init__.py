"""Figures of a sweep, one message each: readable in print and with any kind of colour vision. No torch."""

from dlm.figures.drawing import FIGURES, draw, figures_of, refuse_unknown, write_figure
from dlm.figures.sweep import SweepResults, read_sweep_results

__all__ = ["FIGURES", "SweepResults", "draw", "figures_of", "read_sweep_results", "refuse_unknown", "write_figure"]
