"""From a number back to what it was made from, and down to the answers behind it; made of files alone, no torch."""

from dlm.inspection.ancestry import Data, Step, ancestry
from dlm.inspection.answers import Answer, answers_of
from dlm.inspection.disagreements import Disagreements, disagreements
from dlm.inspection.lineage import Node, lineage_of
from dlm.inspection.rows import Row, find_row, find_rows

__all__ = [
    "Answer",
    "Data",
    "Disagreements",
    "Node",
    "Row",
    "Step",
    "ancestry",
    "answers_of",
    "disagreements",
    "find_row",
    "find_rows",
    "lineage_of",
]
