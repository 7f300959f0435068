"""Which checkpoints are made first: those that the longest chain of trainings waits for."""

from __future__ import annotations

from dlm.params.schema import Params, root_architecture
from dlm.settings import BD3LM, TrainedCheckpoint


def urgency(params: Params, checkpoint: str) -> int:
    """Return how much training waits for a checkpoint, its own included, from 0 to 100: what is ready starts so."""
    longest = max((_chain(params, name) for name in params.checkpoints), default=0)
    return round(100 * _chain(params, checkpoint) / longest) if longest else 0


def _chain(params: Params, checkpoint: str) -> int:
    """Return the work of the longest chain of trainings that begins with a checkpoint."""
    after = [name for name, entry in params.checkpoints.items() if getattr(entry, "start", None) == checkpoint]
    return _work(params, checkpoint) + max((_chain(params, name) for name in after), default=0)


def _work(params: Params, checkpoint: str) -> int:
    """Return the work of one training, up to a factor: sequences that are seen, times the size of the network."""
    entry = params.checkpoints[checkpoint]
    if not isinstance(entry, TrainedCheckpoint):
        return 0
    recipe, scratch = params.recipes[entry.recipe], root_architecture(params, checkpoint)
    size = scratch.architecture.layers * scratch.architecture.hidden_size**2 if scratch else 1
    copies = 2 if isinstance(recipe.objective, BD3LM) else 1  # of each sequence: noisy and clean
    return (recipe.steps or 1) * recipe.batch_size * size * copies
