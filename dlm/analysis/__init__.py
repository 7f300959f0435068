"""Tables beside published numbers: estimates with errors and intervals, verdicts, rendering, publishing. No torch."""

from dlm.analysis.command import write_table
from dlm.analysis.estimates import Estimate, Gain, estimate, paired_gain
from dlm.analysis.publish import drop_stale, is_current, publish
from dlm.analysis.published import Figure, Published
from dlm.analysis.render import write_files
from dlm.analysis.tables import TableResult, build_table

__all__ = [
    "Estimate",
    "Figure",
    "Gain",
    "Published",
    "TableResult",
    "build_table",
    "drop_stale",
    "estimate",
    "is_current",
    "paired_gain",
    "publish",
    "write_files",
    "write_table",
]
