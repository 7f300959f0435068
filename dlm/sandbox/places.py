"""What a program may see of this machine's files besides the system's: this Python, and no home."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from pathlib import Path

from dlm.errors import SetupError
from dlm.sandbox.launcher import SYSTEM


def python_places() -> list[str]:
    """Return where this Python and its packages lie: places without a link on their way, and the links that lead there.

    The interpreter is often a link to a link, in a virtual environment or in somebody's folder of programs. Such a link
    is shown, and not what lies beside it.

    Raises:
        SetupError: one of these folders, or of the system's, is the user's home or holds it, and so would show it.
    """
    program = Path(sys.executable)
    prefixes = [Path(sys.prefix), Path(sys.base_prefix), program.resolve().parents[1]]
    homes = _homes()
    for folder in (path.resolve() for path in (*prefixes, *map(Path, SYSTEM))):
        for home in homes:
            if home.is_relative_to(folder):
                raise SetupError(
                    f"programs that models write would see the home folder {home}: they are shown {folder}, where this "
                    "Python or the system lies, so none is run; score with a Python in a folder of its own"
                )
    return list(dict.fromkeys(str(place) for path in (program, *prefixes) for place in _way(path)))


def _homes() -> set[Path]:
    """Return the user's home as the environment has it, and as the machine does."""
    homes = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):  # a user without an entry, as in containers
        homes.append(pwd.getpwuid(os.getuid()).pw_dir)
    return {Path(home).resolve() for home in homes if home.startswith("/")}


def _way(path: Path) -> list[Path]:
    """Return every link that is met on the way along an existing path, and the place without links where it ends."""
    links, place, left = [], Path("/"), list(path.parts)
    while left:
        part = left.pop(0)
        place = place.parent if part == ".." else place / part
        if place.is_symlink():
            links.append(place)
            place, left = place.parent, [*place.readlink().parts, *left]
    return [*links, place]
