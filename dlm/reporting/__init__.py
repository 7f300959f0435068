"""One page of everything: tables, figures, and for each cell its lineage and a sample of its answers. No torch."""

from dlm.reporting.report import write_report

__all__ = ["write_report"]
