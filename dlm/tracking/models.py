"""Checkpoints as MLflow models, by reference: a folder of a few kilobytes that `mlflow models serve` answers from.

The weights stay where they are. What is in the folder is said by MLflow's documentation ("MLflow Models", "Storage
Format"); the loader module that it names is `dlm.tracking.served`.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from dlm.errors import DataError, SetupError, did_you_mean
from dlm.files import MANIFEST, read_manifest, replacing_folder, write_json
from dlm.provenance import library_versions
from dlm.tracking.place import own_folder
from dlm.tracking.store import prepare_environment, quiet

REFERENCE_FORMAT = "dlm-model/1"
PROMPT = "prompt"
"""Name of the column that holds what is asked."""
_LIBRARIES = ("mlflow", "pandas", "tokenizers", "torch", "transformers")


def write_model(root: Path, scale: str, name: str) -> Path:
    """Write the MLflow model of a checkpoint, in place of an earlier one; return its folder.

    Args:
        root: of the project; the model lies in its ``.mlflow/models/<scale>/<name>``.
        scale, name: of the checkpoint, which has to be there.

    Raises:
        DataError: no such checkpoint, or its manifest is damaged.
        SetupError: the folder cannot be written.
    """
    checkpoints = root.resolve() / "results" / scale / "checkpoints"
    checkpoint = checkpoints / name
    if not (checkpoint / MANIFEST).is_file():
        scales = (path.parent for path in checkpoints.parent.parent.glob("*/checkpoints"))
        elsewhere = sorted(path.name for path in scales if (path / "checkpoints" / name / MANIFEST).is_file())
        known = [path.parent.name for path in checkpoints.glob(f"*/{MANIFEST}") if path.parent.name[0] != "."]
        hint = (
            f"it is of scale {' and '.join(elsewhere)}: name it with --scale"
            if elsewhere
            else did_you_mean(name, known)
        )
        raise DataError(f"no checkpoint '{name}' of scale '{scale}' is here; {hint}")
    digest = read_manifest(checkpoint, verify=False)["digest"]
    folder = own_folder(root) / "models" / scale / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(folder) as part:
            reference = {"format": REFERENCE_FORMAT, "name": name, "checkpoint": str(checkpoint), "digest": digest}
            _save(part, reference)
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror}; the clone's folder .mlflow has to be writable") from error
    return folder


def _save(folder: Path, reference: dict[str, str]) -> None:
    prepare_environment(timeout=20, retries=2)
    with quiet():
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec("string", PROMPT)]),
        outputs=Schema([ColSpec("string", "answer")]),
        params=ParamSchema([ParamSpec("seed", "long", 0)]),
    )
    versions = library_versions(*_LIBRARIES)
    with tempfile.TemporaryDirectory() as aside, quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow would have an example of an input, which makes it ask the model
        write_json(Path(aside, "reference.json"), reference)
        mlflow.pyfunc.save_model(
            folder,
            loader_module="dlm.tracking.served",
            data_path=str(Path(aside, "reference.json")),
            signature=signature,
            pip_requirements=[f"{library}=={versions[library]}" for library in _LIBRARIES],
            metadata={"checkpoint": reference["name"], "checkpoint_digest": reference["digest"]},
        )
