"""Commit rules: which of the scored proposals a step commits. One file a rule; docs/sampling.md adds one."""

from dlm.sampling.rules import even, factor, floor, origin, remasking, schedule, threshold  # noqa: F401 (they register)
from dlm.sampling.rules.base import Block, Quota, Rule, make_rule, rule_for

__all__ = ["Block", "Quota", "Rule", "make_rule", "rule_for"]
