"""`dlm pin`: what branches of a hub stand for today, written down."""

from __future__ import annotations

import click

from dlm.cli.common import enter_project, scale_option
from dlm.errors import RemoteError
from dlm.progress import Progress, say

UNREACHABLE = ("cannot be reached", "HF_HUB_OFFLINE")
"""What is said of a hub that answers nobody (`dlm.data.asking`)."""


@click.command()
@scale_option
@click.option("--renew", is_flag=True, help="Also those that are pinned: they move to what their branch is now.")
def pin(scale: str, renew: bool) -> None:
    """Write the commits that the revisions of a scale stand for to params/revisions.json.

    From then on the scale's data and checkpoints are fetched at these commits. Commit the file, so that others get the
    same.
    """
    root = enter_project()
    from dlm.data.repository import commit_of
    from dlm.params import load_params
    from dlm.params.revisions import FILE, branches, read_revisions, write_revisions

    folder = root / "params"
    known = {} if renew else read_revisions(folder)
    named = branches(load_params(scale, root, pins=False))
    missing = {key: place for key, place in named.items() if key not in known}
    found: dict[str, str] = {}
    refused: dict[str, list[str]] = {}
    with Progress(f"pin {scale}", len(missing), "repositories") as progress:
        for key, place in missing.items():
            try:
                found[key] = commit_of(*place)
            except RemoteError as error:
                reason = str(error).partition(": ")[2]
                refused.setdefault(reason, []).append(key)
                if any(word in reason for word in UNREACHABLE):
                    break  # nor are the others
            progress.advance(1)
    if found:
        write_revisions(folder, found)
    left = len(missing) - len(found)
    if missing:
        say(f"pin {scale}: {len(found)} revisions written to params/{FILE}, {left} not found out")
    else:
        say(f"pin {scale}: nothing is left to pin")
    if refused:
        told = (f"{', '.join(keys[:3])}{f' and {len(keys) - 3} more' * (len(keys) > 3)}: {reason}"
                for reason, keys in refused.items())  # fmt: skip
        raise RemoteError(f"{left} not pinned: {'; '.join(told)}")
