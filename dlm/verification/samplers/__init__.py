"""Published samplers, and how their settings are told to this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dlm.verification.samplers import dllm, dream, fast_dllm, llada
from dlm.verification.samplers.plan import Account, Plan, Run

_DLLM = "ZHZisZZ/dllm"
_DREAM = "dllm/pipelines/dream/models/generation_utils.py"

SAMPLERS: Mapping[tuple[str, str, str], Callable[[Mapping[str, Any]], Plan]] = {
    ("ML-GSAI/LLaDA", "generate.py", "generate"): llada.official,
    (_DLLM, "dllm/core/samplers/mdlm.py", "MDLMSampler.sample"): dllm.mdlm,
    (_DLLM, "dllm/core/samplers/mdlm.py", "MDLMSampler.infill"): dllm.mdlm_infill,
    (_DLLM, "dllm/core/samplers/bd3lm.py", "BD3LMSampler.sample"): dllm.bd3lm,
    (_DLLM, "dllm/pipelines/dream/sampler.py", "DreamSampler.sample"): dream.dllm,
    (_DLLM, "dllm/pipelines/dream/sampler.py", "DreamSampler.infill"): dream.dllm_infill,
    (_DLLM, _DREAM, "DreamGenerationMixin.diffusion_generate"): dream.official,
    (_DLLM, "dllm/pipelines/fastdllm/llada/sampler.py", "FastdLLMLLaDASampler.sample"): fast_dllm.dllm_llada,
    (_DLLM, "dllm/pipelines/fastdllm/dream/sampler.py", "FastdLLMDreamSampler.sample"): fast_dllm.dllm_dream,
    ("NVlabs/Fast-dLLM", "llada/generate.py", "generate"): fast_dllm.llada,
    ("NVlabs/Fast-dLLM", "llada/generate.py", "generate_with_prefix_cache"): fast_dllm.llada_prefix,
    ("NVlabs/Fast-dLLM", "llada/generate.py", "generate_with_dual_cache"): fast_dllm.llada_dual,
    (
        "NVlabs/Fast-dLLM",
        "dream/model/generation_utils.py",
        "DreamGenerationMixin.diffusion_generate",
    ): fast_dllm.dream,
    (
        "NVlabs/Fast-dLLM",
        "dream/model/generation_utils_block.py",
        "DreamGenerationMixin.diffusion_generate",
    ): fast_dllm.dream_block,
}
"""What reads the settings of a published function: repository, file, name."""

__all__ = ["SAMPLERS", "Account", "Plan", "Run"]
