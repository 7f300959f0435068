"""What network a folder holds, by its config alone: the native class of transformers, built without its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dlm.errors import CheckpointError, DataError
from dlm.files import read_json
from dlm.models.formats import Format, read_format
from dlm.models.probing import one_line


def described_network(folder: Path) -> Any:
    """Return the network that a folder describes, in any format that is converted, without memory for its weights.

    Raises:
        CheckpointError: there is no config, or no native class computes what it describes.
    """
    with quiet_library():
        model_class, config = native_class(read_format(read_config(folder, str(folder)), str(folder)), str(folder))
        return empty_network(model_class, config, str(folder))


def empty_network(model_class: Any, config: Any, where: str) -> Any:
    """Build a class without memory for its weights (on torch's meta device).

    Raises:
        CheckpointError: the class does not take the config.
    """
    try:
        with torch.device("meta"):
            return model_class(config)
    except Exception as error:  # a class checks its config with errors of many classes
        raise CheckpointError(f"{where}: config.json does not hold ({one_line(error)})") from error


def read_config(folder: Path, where: str) -> dict[str, Any]:
    """Read the config of a published checkpoint.

    Raises:
        CheckpointError: there is no such folder, no config in it, or it is not legible.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{where}: no config.json in it; a checkpoint has config.json, weights and a tokenizer")
    try:
        config = read_json(folder / "config.json", damaged="fetch it again")
    except DataError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: config.json holds no settings; fetch it again")
    return config


def native_class(format_: Format, where: str) -> tuple[Any, Any]:
    """Return the native class and its config.

    Raises:
        CheckpointError: the class does not take the config.
    """
    import transformers
    from transformers import AutoConfig

    try:
        config = type(AutoConfig.for_model(format_.model_type)).from_dict(dict(format_.config))
        model_class = getattr(transformers, format_.architecture)
    except Exception as error:  # configs check themselves with errors of many classes
        raise CheckpointError(f"{where}: config.json does not hold ({one_line(error)})") from error
    if format_.is_encoder:
        if getattr(config, "is_decoder", False):
            raise CheckpointError(f"{where}: its config says is_decoder: a causal {format_.model_type}, not an encoder")
    elif not format_.is_causal:
        config.is_causal = False
    config.use_cache = format_.is_causal
    config.architectures = [format_.architecture]
    return model_class, config


@contextmanager
def quiet_library() -> Iterator[None]:
    """Keep the library's remarks on configs and bars of its own from the terminal; errors come as exceptions."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
