"""What a table costs, estimated before anything is submitted."""

from dlm.planning.costs import Cost, TableCost, table_cost
from dlm.planning.gpus import GPU, find_gpu
from dlm.planning.passes import Work, likelihood_work, sampling_work

__all__ = ["GPU", "Cost", "TableCost", "Work", "find_gpu", "likelihood_work", "sampling_work", "table_cost"]
