# Why a run failed, once more at its end: other jobs' lines have run over what a failed job said.

import time

BEGAN = time.time()


def failures():
    """Yield the logs that this run's jobs ended with an error, and that error."""
    for path in sorted((PLAN.layout.base / "logs").rglob("*.log")):
        with contextlib.suppress(OSError):  # it may go while this looks
            lines = path.read_text(errors="replace").splitlines()
            if path.stat().st_mtime >= BEGAN and lines and lines[-1].startswith("error: "):
                yield path, lines[-1]


onerror:
    for path, line in failures():
        print(f"{path}: {line}", file=sys.stderr)
