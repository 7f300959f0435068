"""The errors a user can meet, by whose problem they are.

Every message is one line that names the file, key or value at fault and says how to mend it. The command line
prints it without a traceback and exits with ``exit_code``; anything that is not a ``DlmError`` is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DlmError(Exception):
    """Base of every error that is the user's to mend."""

    exit_code = 2


class SettingsError(DlmError, ValueError):
    """A setting or params file asks for something that cannot be."""


class DataError(DlmError):
    """A data file or record is missing, damaged or not what its manifest says."""


class CheckpointError(DlmError):
    """A checkpoint is missing, damaged, or of a kind that cannot be used here."""


class SetupError(DlmError):
    """The machine lacks something the command needs (a package, a program, a device, disk space)."""


class RemoteError(DlmError):
    """A remote source (hub, repository, server) did not give what was asked for."""


class Interrupted(DlmError):
    """A signal ended the work, whose state is saved: the same command continues it. 75 is EX_TEMPFAIL of sysexits.h."""

    exit_code = 75


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a hint that names the closest of ``known`` names to ``name``, or lists them all, each after ``prefix``."""
    options = sorted(map(str, known))
    close = difflib.get_close_matches(str(name), options, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"known: {', '.join(prefix + option for option in options) or 'none'}"


def line_of(error: BaseException) -> str | None:
    """Return the line that tells a person of an error; None for a bug of ours, which a traceback tells of."""
    if isinstance(error, DlmError):
        return f"error: {error}"
    if isinstance(error, OSError) and error.errno is not None:  # the machine's, not a library's own
        return f"error: {error.filename or 'a file'}: {error.strerror}; make place or access for it"
    return None
