"""Recipes run on transformers.Trainer: from prepared rows to a checkpoint folder."""

from dlm.training.run import train
from dlm.training.starting import load_start

__all__ = ["load_start", "train"]
