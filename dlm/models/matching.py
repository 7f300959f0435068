"""Which source tensor fills which tensor of the native class: every one used once, every one filled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlm.errors import CheckpointError
from dlm.models.shards import StoredTensor, same_data

# Tensors that published files hold beside the weights of the language model: buffers that the classes compute anew, and
# heads of BERT's pretraining that a masked-LM class has not. They are kept aside, for converting back.
_BESIDE = re.compile(
    r"(^|\.)rotary_emb\.inv_freq$"
    r"|(^|\.)position_ids$"
    r"|(^|\.)h\.\d+\.attn\.(bias|masked_bias)$"
    r"|^((bert|roberta)\.)?pooler\.dense\.(weight|bias)$"
    r"|^cls\.seq_relationship\.(weight|bias)$"
)
_NAMED = 8
"""Tensors that an error names, at most."""


@dataclass(frozen=True)
class Targets:
    """What the files of a native class hold."""

    shapes: Mapping[str, tuple[int, ...]]
    """Of every tensor, by name."""
    tied: Mapping[str, str]
    """For each name that is another's tensor under a second name, and not stored: that other."""
    prefix: str
    """What the body's names begin with; published files of some bodies leave it out."""


@dataclass
class Matches:
    """What becomes of the source's tensors."""

    moves: dict[str, str] = field(default_factory=dict)
    """Source name -> target name."""
    repeats: dict[str, str] = field(default_factory=dict)
    """Source name -> source name of the tensor that it repeats, as tied weights do."""
    beside: list[str] = field(default_factory=list)
    """Source names that the class has no place for, by a rule of ours."""


def target_tensors(model: Any) -> Targets:
    """Ask transformers which tensors it stores for a network, which may be without memory for its weights."""
    from transformers.core_model_loading import revert_weight_conversion

    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    stored = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    stored = revert_weight_conversion(model, stored)  # classes may join tensors that their files keep apart
    return Targets({name: tuple(tensor.shape) for name, tensor in stored.items()}, tied, f"{model.base_model_prefix}.")


def match(source: Mapping[str, StoredTensor], targets: Targets, rename: Callable[[str], str], where: str) -> Matches:
    """Give every source tensor its one place.

    Args:
        source: the stored tensors, by name.
        targets: what the class stores; its shapes are those before any row is added.
        rename: from a name in the source to the name in the class.
        where: names the checkpoint in messages.

    Raises:
        CheckpointError: a tensor is left over, missing, doubled, of another shape, or differs from the one it should
            repeat; the message names them.
    """
    found, filled, problems = Matches(), dict[str, str](), list[str]()
    tied_names: list[tuple[str, str]] = []
    for name in source:
        target = _target_name(rename(name), targets)
        if target in targets.tied:
            tied_names.append((name, targets.tied[target]))
        elif target in targets.shapes:
            if target in filled:
                problems.append(f"'{filled[target]}' and '{name}' both fill '{target}'")
            filled[target] = name
            found.moves[name] = target
        elif _BESIDE.search(name):
            found.beside.append(name)
        else:
            problems.append(f"'{name}' has no place in the class")
    for name, owner in tied_names:
        if owner not in filled:  # the source keeps a tied tensor under its second name
            filled[owner] = name
            found.moves[name] = owner
        elif same_data(source[name], source[filled[owner]]):
            found.repeats[name] = filled[owner]
        else:
            problems.append(f"'{name}' differs from '{filled[owner]}', though the config ties them")
    problems += [f"nothing fills '{name}'" for name in targets.shapes if name not in filled]
    for target, name in filled.items():
        if source[name].shape != targets.shapes[target]:
            expected, stored = list(targets.shapes[target]), list(source[name].shape)
            problems.append(f"'{name}' has the shape {stored}, but its config asks for {expected}")
    if problems:
        raise CheckpointError(f"{where}: the tensors do not fit the class: {_first(problems)}")
    return found


def _target_name(name: str, targets: Targets) -> str:
    known = targets.shapes.keys() | targets.tied.keys()
    modern = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
    for candidate in (name, modern, targets.prefix + name):
        if candidate in known:
            return candidate
    return name


def _first(problems: Iterable[str]) -> str:
    listed = list(problems)
    more = f" (and {len(listed) - _NAMED} more)" if len(listed) > _NAMED else ""
    return "; ".join(listed[:_NAMED]) + more
