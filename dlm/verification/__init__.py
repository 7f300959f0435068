"""Reference cases, recorded from the published implementations, run against this one: ``dlm verify``."""

from dlm.verification.cases import KINDS, Outcome
from dlm.verification.command import verify

__all__ = ["KINDS", "Outcome", "verify"]
