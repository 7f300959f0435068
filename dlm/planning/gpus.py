"""GPUs by name: their data sheets, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from dlm.errors import DataError, SettingsError, did_you_mean

GPUS = Path("data/gpus.yaml")
SHARE_OF_OPERATIONS, SHARE_OF_BANDWIDTH = 0.4, 0.7
"""How much of a data sheet's rates a run is assumed to reach."""


@dataclass(frozen=True, kw_only=True)
class GPU:
    """One GPU's data sheet."""

    name: str
    memory: float
    """GiB."""
    bandwidth: float
    """10^9 bytes per second."""
    bfloat16: float
    """10^12 operations per second of dense matrix products."""
    float32: float
    """The same in float32."""

    def seconds(self, operations: float, moved: float, dtype: str) -> float:
        """Estimate the time of work: the larger of what its operations and its bytes take.

        Args:
            operations: multiplications and additions.
            moved: bytes.
            dtype: `float32`, `bfloat16` or `float16`.
        """
        rate = 1e12 * (self.float32 if dtype == "float32" else self.bfloat16)
        return max(operations / (SHARE_OF_OPERATIONS * rate), moved / (SHARE_OF_BANDWIDTH * 1e9 * self.bandwidth))


def load_gpus(path: Path = GPUS) -> dict[str, GPU]:
    """Read the data sheets.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        sheets = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {name: GPU(name=name, **sheet) for name, sheet in sheets.items()}
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); restore it with git"
        ) from error


def find_gpu(name: str) -> GPU:
    """Return the GPU of a name.

    Raises:
        SettingsError: there is none; names the closest.
    """
    gpus = load_gpus()
    if name not in gpus:
        raise SettingsError(f"no GPU is named '{name}'; {did_you_mean(name, gpus)} ({GPUS})")
    return gpus[name]
