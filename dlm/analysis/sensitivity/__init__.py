"""Sensitivity studies: which settings decide the score, and by how much. No torch."""

from dlm.analysis.sensitivity.command import write_sensitivity
from dlm.analysis.sensitivity.files import write_files
from dlm.analysis.sensitivity.lines import Line
from dlm.analysis.sensitivity.study import Study, build_study

__all__ = ["Line", "Study", "build_study", "write_files", "write_sensitivity"]
