"""``Sampler(model, settings).sample(prompts)``: one loop, its parts chosen by settings."""

from dlm.sampling.sampler import Prompt, Sampler, default_settings
from dlm.sampling.selecting import even_counts, schedule_counts, select_highest
from dlm.sampling.state import Sample

__all__ = ["Prompt", "Sample", "Sampler", "default_settings", "even_counts", "schedule_counts", "select_highest"]
