"""``Sampler(model, settings).sample(prompts)``: one loop, its parts chosen by settings."""

from dlm.sampling.asking import Prompt, begun
from dlm.sampling.fitting import misfits
from dlm.sampling.own import default_settings, plain_settings, read_settings
from dlm.sampling.rules import Quota, Rule, rule_for
from dlm.sampling.sampler import Sampler
from dlm.sampling.samples import PromptError, Sample, order_tau, tokens_per_pass
from dlm.sampling.selecting import (
    even_counts,
    floor_counts,
    schedule_counts,
    schedule_shares,
    select_by_factor,
    select_by_threshold,
    select_highest,
)
from dlm.sampling.state import Row, State
from dlm.sampling.stopping import first_stop, tokens_before

__all__ = [
    "Prompt",
    "PromptError",
    "Quota",
    "Row",
    "Rule",
    "Sample",
    "Sampler",
    "State",
    "begun",
    "default_settings",
    "even_counts",
    "first_stop",
    "floor_counts",
    "misfits",
    "order_tau",
    "plain_settings",
    "read_settings",
    "rule_for",
    "schedule_counts",
    "schedule_shares",
    "select_by_factor",
    "select_by_threshold",
    "select_highest",
    "tokens_before",
    "tokens_per_pass",
]
