"""How a model was run: what is not meant to change a result and yet may change its bits."""

from __future__ import annotations

import platform
from typing import Any

import lm_eval
import torch
import transformers

import dlm
from dlm.models import Denoiser
from dlm.settings import ExecutionSettings


def execution_content(denoiser: Denoiser, execution: ExecutionSettings) -> dict[str, Any]:
    """Describe dtype, device, batch size, threads and versions, for the records."""
    device = denoiser.device
    return {
        "dtype": str(next(denoiser.parameters()).dtype).removeprefix("torch."),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "batch_size": execution.batch_size,
        "threads": torch.get_num_threads(),
        "versions": {
            "dlm": dlm.__version__,
            "lm_eval": lm_eval.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
