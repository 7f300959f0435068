"""Published checkpoints into the one format of this project: a native transformers folder with its conventions.

The weights are copied from file to file a few megabytes at a time and never loaded: a tensor keeps its bytes, and only
its name changes. What is needed to restore the source lies in ``source/`` beside them (:mod:`dlm.models.restoring`).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import CheckpointError, SetupError
from dlm.files import (
    MANIFEST,
    check_destination,
    own_manifest,
    read_manifest,
    replacing_folder,
    sha256_file,
    write_json,
    write_manifest,
)
from dlm.models.conventions import Conventions
from dlm.models.describing import empty_network, native_class, quiet_library, read_config
from dlm.models.formats import Format, read_format
from dlm.models.growing import TORCH_TYPES, grown_vocabulary, mean_row
from dlm.models.matching import Matches, Targets, match, target_tensors
from dlm.models.probing import probe
from dlm.models.shards import SINGLE, Piece, Shard, StoredTensor, read_shards, write_index, write_shard
from dlm.models.storing import ADAPTER
from dlm.models.tokenizing import prepare_tokenizer
from dlm.provenance import code_version, library_versions

SOURCE = "source"
"""Folder beside the weights with what restores the published files."""
KEYS = "keys.json"
"""What became of each source tensor."""
BESIDE = "beside.safetensors"
"""Source tensors that the native class has no place for."""
HEAD = ".head"
"""What is added to the name of a source file of weights for the file with its header."""
_KEPT = {".json", ".txt", ".jinja", ".model"}
"""Endings of the source's files that are kept: settings and vocabularies, no code."""

Watch = Callable[[int, int], None]
"""Called with the bytes moved so far, and all that have to be."""


def convert_checkpoint(
    source: str | Path,
    dest: str | Path,
    *,
    shift: bool | None = None,
    objective: str | None = None,
    block_size: int | None = None,
    causal: bool = False,
    name: str | None = None,
    repository: str | None = None,
    revision: str | None = None,
    made_from: Mapping[str, Any] | None = None,
    own: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Convert a checkpoint folder as it was published into one that :func:`dlm.models.load_denoiser` loads.

    Args:
        source: folder with config, safetensors files and tokenizer.
        dest: folder to write, whole or not at all; a converted checkpoint there is replaced.
        shift: whether the output at position i-1 scores token i; None: as the format has it (Dream yes, others no).
        objective: what the weights were trained with; None: as the format has it.
        block_size: tokens of a block, for block diffusion.
        causal: keep a decoder as it is, autoregressive and without a mask token, to compare with or to convert later.
        name: name in the manifest; None: the folder's.
        repository: hub id that the source was fetched from, if it was.
        revision: its commit.
        made_from: further entries for the manifest's lineage.
        own: whether ``dest`` is there for this checkpoint, so that whatever it holds is replaced.
        watch: told of the progress.

    Returns:
        The manifest.

    Raises:
        CheckpointError: the source is damaged or incomplete, no native class computes what it does, or it is to stay
            causal and never was.
        SettingsError: ``dest`` holds something else, or lies in ``source``.
        SetupError: it cannot be written.
    """
    source, dest = Path(source), Path(dest)
    where = repository or str(source)
    published = read_config(source, where)
    check_destination(source, dest, own=own)
    format_ = read_format(published, where)
    if causal:
        format_ = _kept_causal(format_, where)
        shift, objective = True, "ar"
    if found := [name for name in (ADAPTER, "adapter_config.json") if (source / name).exists()]:
        raise CheckpointError(
            f"{source / found[0]}: adapters beside the weights, which a conversion would leave out; train with `lora: "
            "{merge: true}`, or merge them (peft's merge_and_unload), and convert that"
        )
    if own_manifest(source) is not None:
        read_manifest(source)  # damage is named before anything is written
    shards = read_shards(source)
    try:
        with quiet_library(), replacing_folder(dest) as draft:
            conversion = _Conversion(source, draft, where, format_, shards)
            conventions = conversion.prepare(shift, objective, block_size)
            _check_space(dest, shards)
            conversion.write_weights(watch)
            origin = conversion.keep_source(repository, revision)
            conversion.write_config({**conventions.to_config(), "source": origin})
            lineage = {
                "parents": {},
                "settings": {"shift": conventions.shift, "objective": conventions.objective},
                "code": code_version(),
                "libraries": library_versions("torch", "transformers", "tokenizers", "safetensors"),
                **(made_from or {}),
                "source": origin,
                "tensors": conversion.report(),
            }
            return write_manifest(draft, kind="checkpoint", name=name or dest.name, made_from=lineage)
    except OSError as error:
        raise SetupError(
            f"{error.filename or dest}: cannot be read or written ({error.strerror or error}); see to it and run again"
        ) from error


@dataclass
class _Conversion:
    """One conversion on its way; the steps are called in the order in which they stand here."""

    source: Path
    draft: Path
    where: str
    format: Format
    shards: Sequence[Shard]

    def prepare(self, shift: bool | None, objective: str | None, block_size: int | None) -> Conventions:
        """Find everything that can be wrong before the weights are written; write the tokenizer.

        Returns:
            The conventions: what was asked for, else the source's own, else the format's.
        """
        conventions = self._conventions(shift, objective, block_size)
        self.model_class, self.config = native_class(self.format, self.where)
        self.config.save_pretrained(str(self.draft))  # the tokenizer's class is found by it
        tokenizer = prepare_tokenizer(
            self.source,
            self.draft,
            mask_token_id=self.format.mask_token_id,
            mask_needed=not self.format.is_causal,
            add_mask=not self.format.is_encoder and conventions.objective == "none",
            encoder=self.format.is_encoder,
            where=self.where,
        )
        self.mask: int | None = tokenizer.mask_token_id
        self.tensors = {tensor.name: tensor for shard in self.shards for tensor in shard.tensors}
        before = self._targets()
        self.matches: Matches = match(self.tensors, before, self.format.rename, self.where)
        self._make_room(max(token for token in tokenizer.get_vocab().values() if token != self.mask))
        self.shapes = self._targets().shapes
        self._set_dtype()
        for key in ("bos", "eos", "pad"):
            told = getattr(self.config, f"{key}_token_id", None)
            if told is None or (isinstance(told, int) and told >= self.config.vocab_size):
                setattr(self.config, f"{key}_token_id", getattr(tokenizer, f"{key}_token_id"))
        probe(self.model_class, self.config, self.where, causal=self.format.is_causal)
        return dataclasses.replace(conventions, mask_token_id=self.mask)

    def _targets(self) -> Targets:
        return target_tensors(empty_network(self.model_class, self.config, self.where))

    def _make_room(self, last: int) -> None:
        """See that the matrices have a row for every token; ``last`` is the highest id beside the mask's."""
        rows = self.config.vocab_size
        highest = last if self.mask is None else max(last, self.mask)
        if last >= rows or (self.format.mask_token_id is not None and highest >= rows):
            raise CheckpointError(
                f"{self.where}: its tokenizer gives ids up to {highest}, but the model has {rows} rows; they do not "
                "belong together"
            )
        self.config.vocab_size = grown_vocabulary(rows, highest + 1)

    def _set_dtype(self) -> None:
        """Let the config name the type that the weights have, so that loading changes none."""
        kinds = {self.tensors[name].dtype for name in self.matches.moves} & TORCH_TYPES.keys()
        if len(kinds) == 1:
            self.config.dtype = TORCH_TYPES[kinds.pop()]

    def write_weights(self, watch: Watch | None) -> None:
        """Write the native class's files, one for each of the source's."""
        plan = [
            pieces for shard in self.shards if (pieces := [self._piece(t) for t in shard.tensors if self._moves(t)])
        ]
        total, done = sum(piece.size for pieces in plan for piece in pieces), 0

        def moved(count: int) -> None:
            nonlocal done
            done += count
            if watch:
                watch(done, total)

        names = [f"model-{number:05}-of-{len(plan):05}.safetensors" for number in range(1, len(plan) + 1)]
        for file, pieces in zip(names if len(plan) > 1 else [SINGLE], plan, strict=True):
            write_shard(self.draft / file, pieces, moved)
        if len(plan) > 1:
            write_index(self.draft, {p.name: f for f, pieces in zip(names, plan, strict=True) for p in pieces}, total)

    def _moves(self, tensor: StoredTensor) -> bool:
        return tensor.name in self.matches.moves

    def _piece(self, tensor: StoredTensor) -> Piece:
        target = self.matches.moves[tensor.name]
        shape = self.shapes[target]
        added = shape[0] - tensor.shape[0] if shape != tensor.shape else 0
        appended = mean_row(tensor, self.where) * added if added else b""
        return Piece(name=target, shape=shape, origin=tensor, appended=appended)

    def _conventions(self, shift: bool | None, objective: str | None, block_size: int | None) -> Conventions:
        """Return the conventions as far as they are known before the tokenizer is."""
        base = {
            "shift": self.format.shift,
            "objective": self.format.objective,
            "padding_side": self.format.padding_side,
            **(self.format.conventions or {}),
            "mask_token_id": None,
            "source": None,
        }
        asked = {"shift": shift, "objective": objective, "block_size": block_size}
        made = Conventions(**{**base, **{key: value for key, value in asked.items() if value is not None}})
        if made.objective != "bd3lm":
            if block_size is not None:
                raise CheckpointError(
                    f"{self.where}: a block size belongs to objective bd3lm, not to {made.objective}; name that "
                    "objective, or leave the block size out"
                )
            return dataclasses.replace(made, block_size=None)
        if made.block_size is None:
            raise CheckpointError(
                f"{self.where}: objective bd3lm needs a block size, which its files do not say; give it (--block-size, "
                "or block_size of the checkpoint's conventions)"
            )
        return made

    def keep_source(self, repository: str | None, revision: str | None) -> dict[str, Any]:
        """Write what restores the source into ``source/``; return where it came from, with the hashes of its files."""
        folder = self.draft / SOURCE
        folder.mkdir()
        kept = sorted(
            path
            for path in self.source.iterdir()
            if path.is_file() and path.suffix in _KEPT and path.name != MANIFEST and not path.name.startswith(".")
        )
        for path in kept:
            shutil.copyfile(path, folder / path.name)
        for shard in self.shards:
            (folder / f"{shard.path.name}{HEAD}").write_bytes(shard.head)
        beside = [self.tensors[name] for name in self.matches.beside]
        if beside:
            pieces = [Piece(name=tensor.name, shape=tensor.shape, origin=tensor) for tensor in beside]
            write_shard(folder / BESIDE, pieces, lambda count: None)
        write_json(
            folder / KEYS,
            {"moved": self.matches.moves, "repeated": self.matches.repeats, "beside": self.matches.beside},
        )
        files = [*kept, *(shard.path for shard in self.shards)]
        return {
            "format": self.format.name,
            "repository": repository,
            "folder": None if repository else self.source.resolve().name,
            "revision": revision,
            "files": {path.name: sha256_file(path) for path in sorted(files)},
        }

    def write_config(self, conventions: Mapping[str, Any]) -> None:
        """Write the native config with the conventions in it."""
        self.config.diffusion = dict(conventions)
        self.config.save_pretrained(str(self.draft))

    def report(self) -> dict[str, int]:
        """Count what became of the source's tensors."""
        return {
            "moved": len(self.matches.moves),
            "repeated": len(self.matches.repeats),
            "beside": len(self.matches.beside),
        }


def _kept_causal(format_: Format, where: str) -> Format:
    """Return the format of a decoder whose attention stays as it is.

    Raises:
        CheckpointError: it is an encoder, or a diffusion model already.
    """
    if format_.is_encoder:
        raise CheckpointError(f"{where}: is an encoder, whose attention goes both ways; it cannot stay causal")
    if format_.name != "a2d" or format_.objective != "none":
        raise CheckpointError(f"{where}: is a diffusion model (format {format_.name}), not an autoregressive one")
    return dataclasses.replace(format_, name="causal", is_causal=True)


def _check_space(dest: Path, shards: Sequence[Shard]) -> None:
    needed = sum(tensor.size for shard in shards for tensor in shard.tensors)
    place = next(folder for folder in dest.resolve().parents if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise SetupError(f"{dest}: needs {needed / 1e9:.1f} GB, but the disk has {free / 1e9:.1f} GB left; free some")
