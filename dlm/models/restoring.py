"""Converting back: the published files again, to the byte, from a converted checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from dlm.errors import CheckpointError, SetupError
from dlm.files import check_destination, read_json, read_manifest, replacing_folder, sha256_file
from dlm.models.converting import BESIDE, HEAD, KEYS, SOURCE, Watch
from dlm.models.describing import read_config
from dlm.models.shards import StoredTensor, chunks, read_head, read_shard, read_shards


def convert_back(folder: str | Path, dest: str | Path, *, watch: Watch | None = None) -> list[str]:
    """Write the files that a checkpoint was converted from: weights, settings and tokenizer, as they were.

    Rows that the conversion added to the vocabulary are left out again. Each file is compared with the hash that the
    conversion recorded.

    Args:
        folder: the converted checkpoint.
        dest: folder to write, whole or not at all; absent or empty.
        watch: told of the progress, in bytes.

    Returns:
        The names of the files.

    Raises:
        CheckpointError: the checkpoint was not converted from files, or it is damaged.
        SettingsError: ``dest`` is not empty.
        SetupError: it cannot be written.
    """
    folder, dest = Path(folder), Path(dest)
    kept = folder / SOURCE
    if not (kept / KEYS).is_file():
        raise CheckpointError(f"{folder}: no {SOURCE}/{KEYS} in it: only what `dlm convert` made can be converted back")
    read_manifest(folder)
    check_destination(folder, dest, empty=True)
    hashes: Mapping[str, str] = read_config(folder, str(folder))["diffusion"]["source"]["files"]
    origins = _origins(folder, kept)
    total, done = sum(path.stat().st_size for path in folder.glob("*.safetensors")), 0
    try:
        with replacing_folder(dest) as draft:
            for name in hashes:
                if not (kept / f"{name}{HEAD}").is_file():
                    shutil.copyfile(kept / name, draft / name)
                    continue
                head = (kept / f"{name}{HEAD}").read_bytes()
                with (draft / name).open("xb") as stream:
                    stream.write(head)
                    for tensor in read_head(head, kept / name):
                        for chunk in chunks(origins[tensor.name], stop=tensor.size):
                            done += stream.write(chunk)
                            if watch:
                                watch(min(done, total), total)
            for name, expected in hashes.items():
                if sha256_file(draft / name) != expected:
                    raise CheckpointError(f"{folder}: does not give {name} again as it was; convert the source again")
    except OSError as error:
        raise SetupError(
            f"{error.filename or dest}: cannot be read or written ({error.strerror or error}); see to it and run again"
        ) from error
    return list(hashes)


def _origins(folder: Path, kept: Path) -> dict[str, StoredTensor]:
    """Return, for each source tensor, where its data are now."""
    keys = read_json(kept / KEYS)
    stored = {tensor.name: tensor for shard in read_shards(folder) for tensor in shard.tensors}
    origins = {source: stored[target] for source, target in keys["moved"].items()}
    origins |= {source: origins[owner] for source, owner in keys["repeated"].items()}
    if keys["beside"]:
        origins |= {tensor.name: tensor for tensor in read_shard(kept / BESIDE).tensors}
    return origins
