"""Recipes run on transformers.Trainer: from prepared rows to a checkpoint folder."""

from dlm.training.run import train

__all__ = ["train"]
