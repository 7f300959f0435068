"""A checkpoint folder for a hub: every file that its manifest lists, checked, and a model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from dlm.errors import CheckpointError
from dlm.files import MANIFEST, check_destination, own_manifest, read_json, read_manifest, replacing_folder
from dlm.inspection.ancestry import ancestry
from dlm.params import Plan
from dlm.publishing.card import Subject, model_card
from dlm.publishing.results import scores_of

CARD = "README.md"
"""Where a hub looks for the card."""

Watch = Callable[[int, int], None]
"""Called with the bytes copied so far, and all that have to be."""


def pack(
    plan: Plan,
    name: str,
    dest: Path,
    *,
    repository: str | None = None,
    license_id: str | None = None,
    watch: Watch | None = None,
) -> Path:
    """Pack the checkpoint ``name`` into ``dest``, whole or not at all; the same checkpoint gives the same bytes.

    Args:
        plan: of its scale.
        name: of the checkpoint, under `checkpoints` in the params.
        dest: folder to write; what was packed there before is replaced.
        repository: hub id under which it will be found, for the card; None: the name of ``dest``.
        license_id: the hub's word for its licence; None: the card names none.
        watch: told of the progress.

    Returns:
        ``dest``.

    Raises:
        DataError, CheckpointError: checkpoint or scores are missing, damaged, or do not belong together.
        SettingsError: there is no such checkpoint, or ``dest`` holds something else.
        SetupError: the disk is full.
    """
    verb = "train" if plan.entry("checkpoints", name).kind == "train" else "convert"
    source = plan.layout.folder("checkpoints", name)
    if not (source / MANIFEST).is_file():
        raise CheckpointError(f"{source}: not there yet; make it with `dlm {verb} {name} --scale {plan.scale}`")
    check_destination(source, dest, own=(dest / CARD).is_file() and own_manifest(dest) is not None)
    manifest = read_manifest(source)
    subject = Subject(
        name=name,
        repository=repository or dest.name,
        scale=plan.scale,
        meaningless=plan.params.meaningless,
        digest=str(manifest["digest"]),
        config=read_json(source / "config.json"),
        steps=tuple(ancestry(plan.layout, name)),
        scores=tuple(scores_of(plan, name, str(manifest["digest"]))),
        has_adapter=any(file.startswith("adapter/") for file in manifest["files"]),
        license_id=license_id,
    )
    card = model_card(subject)  # before gigabytes are copied
    total, done = sum(entry["bytes"] for entry in manifest["files"].values()), 0
    with replacing_folder(dest) as draft:
        for file, entry in manifest["files"].items():
            (draft / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, draft / file)
            done += entry["bytes"]
            if watch:
                watch(done, total)
        shutil.copyfile(source / MANIFEST, draft / MANIFEST)
        (draft / CARD).write_text(card, encoding="utf-8")
    return dest
