"""The reference's checkpoints: converted as any published one, each once, into a folder that goes away."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from dlm.errors import CheckpointError, DlmError
from dlm.files import read_json
from dlm.models import Denoiser, convert_checkpoint, load_denoiser
from dlm.verification.fields import Malformed


class Checkpoints:
    """Checkpoints by the root of their reference and their name; a context manager."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="dlm-verify-")
        self._loaded: dict[tuple[Path, str], Denoiser | DlmError] = {}
        self._causal: dict[tuple[Path, str], Any] = {}

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def denoiser(self, root: Path, name: str, *, shift: bool = False) -> Denoiser:
        """Return a converted checkpoint, read with or without shifted prediction.

        Raises:
            Malformed: there is none of that name.
            DlmError: it cannot be converted.
        """
        key = (root, name)
        if key not in self._loaded:
            try:
                self._loaded[key] = self._convert(_folder(root, name), str(len(self._loaded)))
            except DlmError as error:
                self._loaded[key] = error
        loaded = self._loaded[key]
        if isinstance(loaded, DlmError):
            raise loaded
        conventions = dataclasses.replace(loaded.conventions, shift=shift)
        return Denoiser(loaded.model, loaded.tokenizer, conventions).eval()

    def unconverted(self, root: Path, name: str) -> Any:
        """Return a checkpoint as transformers itself loads it.

        Raises:
            Malformed: there is none of that name.
            CheckpointError: transformers cannot load it.
        """
        from transformers import AutoModelForCausalLM

        key = (root, name)
        if key not in self._causal:
            folder = _folder(root, name)
            try:
                model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype="float32", local_files_only=True)
            except (OSError, ValueError, RuntimeError) as error:
                raise CheckpointError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error
            self._causal[key] = model.eval()
        return self._causal[key]

    def token_ids(self, root: Path, name: str) -> dict[str, Any]:
        """Return the reference's own list of a checkpoint's special tokens; empty where it has none."""
        file = root / "checkpoints" / "token_ids.json"
        listed = read_json(file).get(name, {}) if file.is_file() else {}
        return listed if isinstance(listed, dict) else {}

    def _convert(self, source: Path, number: str) -> Denoiser:
        dest = Path(self._temporary.name) / number
        convert_checkpoint(source, dest)
        return load_denoiser(dest)


def _folder(root: Path, name: str) -> Path:
    folder = root / "checkpoints" / name
    if Path(name).name != name or not (folder / "config.json").is_file():
        raise Malformed(f"checkpoint '{name}': no checkpoints/{name}/config.json beside the cases")
    return folder
