"""Reference cases, recorded from the published implementations, run against this one: ``dlm verify``."""

from dlm.verification.cases import KINDS
from dlm.verification.run import Outcome, verify

__all__ = ["KINDS", "Outcome", "verify"]
