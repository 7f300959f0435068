"""What the sandbox's tests ask of the machine."""

from __future__ import annotations

import pytest
from namespaces import isolation_or_skip
from sandbox_examples import LIMITS


@pytest.fixture(scope="session")
def isolation() -> None:
    """Skip where the kernel refuses namespaces; fail where it gives them and the sandbox does not hold."""
    isolation_or_skip(LIMITS)
