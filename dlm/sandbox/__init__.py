"""Programs that nobody has read: each run in a room of its own, without network, under limits, and scored.

Linux namespaces do the isolation (the same that containers are made of), so it takes no other program and works for an
ordinary user as well as for root in a container that may make them; where they cannot be had nothing is run.
"""

from __future__ import annotations

from dlm.sandbox.running import PASSED, require_isolation, run_programs

__all__ = ["PASSED", "require_isolation", "run_programs"]
