"""Evaluation: lm-eval's tasks run on diffusion models, with every answer recorded and replayable.

Sampling needs torch and the weights where a record is missing; scoring needs, and imports, neither.
"""

import os
import sys

if not sys.stderr.isatty():
    # lm-eval draws tqdm bars without asking; tqdm reads this once, at its own import.
    os.environ.setdefault("TQDM_DISABLE", "1")

from dlm.evaluation.records import RECORDS
from dlm.evaluation.run import sample_cells, score_cells

__all__ = ["RECORDS", "sample_cells", "score_cells"]
