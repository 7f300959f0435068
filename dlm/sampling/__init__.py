"""``Sampler(model, settings).sample(prompts)``: one loop, its parts chosen by settings."""

from dlm.sampling.sampler import Prompt, Sampler, default_settings
from dlm.sampling.selecting import (
    even_counts,
    floor_counts,
    schedule_counts,
    schedule_shares,
    select_by_factor,
    select_highest,
)
from dlm.sampling.state import Sample

__all__ = [
    "Prompt",
    "Sample",
    "Sampler",
    "default_settings",
    "even_counts",
    "floor_counts",
    "schedule_counts",
    "schedule_shares",
    "select_by_factor",
    "select_highest",
]
