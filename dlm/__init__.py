"""Reproducible diffusion language models: train, convert, sample, score and tabulate."""

__version__ = "0.1.0"
