"""Training recipes: data handling and optimisation, each figure with its unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import above, at_least, between
from dlm.settings.objective import BD3LM, MDLM, MLM, Autoregressive

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Low-rank adapters (arXiv 2106.09685) in place of full finetuning."""

    __pydantic_config__ = _STRICT
    rank: int
    """Rank of the update (>= 1)."""
    alpha: int
    """Scale: the update is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Dropout probability on the adapter's input (0 to 1)."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the adapted linear layers, or `all-linear` (all but the output head)."""
    merge: bool = True
    """True: the adapters are added to the weights at the end; False: they stay apart, in `adapter/` beside them."""
    train_mask_embedding: bool = False
    """Also train the mask token's embedding: for checkpoints that got their mask token by conversion."""

    def __post_init__(self) -> None:
        at_least("rank", self.rank, 1)
        above("alpha", self.alpha, 0)
        between("dropout", self.dropout, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Orthogonalised updates for the hidden matrices; AdamW keeps embeddings, output projection, norms and biases."""

    __pydantic_config__ = _STRICT
    learning_rate: float = 0.01
    """Peak learning rate of the hidden matrices."""
    momentum: float = 0.95
    """Decay of the averaged gradient (0 to 1)."""

    def __post_init__(self) -> None:
        above("learning_rate", self.learning_rate, 0)
        between("momentum", self.momentum, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training, data and start aside."""

    __pydantic_config__ = _STRICT
    objective: MDLM | BD3LM | MLM | Autoregressive = field(metadata={"discriminator": "kind"})
    """What is minimised."""
    loss_on: Literal["all", "response"]
    """`all`: every token counts (pretraining); `response`: the last assistant turn only (SFT)."""
    normalisation: Literal["token", "sequence", "batch"] = "token"
    """The summed loss is divided by the batch's trainable tokens, by each sequence's and the batch, or by the batch."""
    filler: Literal["eos", "ignore", "eos_to_block"] = "eos"
    """What pads an SFT row to the batch's longest: `eos`, visible and trained (dLLM, LLaDA); `ignore`, padding;
    `eos_to_block`, end tokens up to a whole number of blocks, trained, then padding (dLLM's BD3LM)."""
    max_length: int
    """Longest sequence, in tokens: longer responses are cut on the right, rows whose prompt exceeds it are dropped."""
    steps: int | None = None
    """Optimiser updates; give this or epochs."""
    epochs: float | None = None
    """Passes over the data; give this or steps."""
    batch_size: int
    """Sequences per optimiser update, over all processes and accumulation steps."""
    micro_batch_size: int | None = None
    """Sequences per forward pass and process; must divide batch_size. None: batch_size."""
    learning_rate: float
    """Peak learning rate of AdamW."""
    lr_schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay after the warm-up."""
    warmup_ratio: float = 0.1
    """Share of the updates during which the learning rate rises linearly (0 to 1)."""
    weight_decay: float = 0.0
    """AdamW weight decay."""
    adam_beta2: float = 0.999
    """AdamW second-moment decay."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    muon: Muon | None = None
    """Muon for the hidden matrices; None: AdamW for every weight."""
    lora: LoRA | None = None
    """Adapters instead of full finetuning."""
    four_bit: bool = False
    """Hold the frozen weights in 4 bits (nf4, double quantisation) while adapters are trained; needs lora and a GPU."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, more time."""
    group_by_length: bool = False
    """Put rows of similar length into a batch, so that there is less filler."""
    packing: bool = False
    """Put several sequences into a row of max_length, each seeing itself only; texts are then not joined."""
    streaming: bool = False
    """Read and encode rows when they are used, instead of holding them in memory; the batches are the same."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the forward and backward pass."""
    evaluations: int = 4
    """How often the loss on held-out rows is measured, spread evenly over the training, the end included."""
    evaluation_rows: int = 128
    """Held-out rows in that measurement."""
    checkpoint_seconds: float = 60.0
    """Seconds of training between saved states from which an interrupted run continues."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise SettingsError("give either steps or epochs, not both and not neither")
        for name in ("max_length", "batch_size", "evaluations", "evaluation_rows"):
            at_least(name, getattr(self, name), 1)
        if self.filler == "eos_to_block":
            self._check_blocks()
        if self.packing:
            self._check_packing()
        if self.four_bit and self.lora is None:
            raise SettingsError("four_bit holds weights that are not trained, so it needs lora")
        if self.steps is not None:
            at_least("steps", self.steps, 1)
        if self.epochs is not None:
            above("epochs", self.epochs, 0)
        above("learning_rate", self.learning_rate, 0)
        above("max_grad_norm", self.max_grad_norm, 0)
        between("warmup_ratio", self.warmup_ratio, 0, 1)
        at_least("weight_decay", self.weight_decay, 0)
        between("adam_beta2", self.adam_beta2, 0, 1)
        at_least("checkpoint_seconds", self.checkpoint_seconds, 0)
        if self.micro_batch_size is not None and (self.micro_batch_size < 1 or self.batch_size % self.micro_batch_size):
            raise SettingsError(
                f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}"
            )

    def _check_packing(self) -> None:
        if isinstance(self.objective, BD3LM):
            raise SettingsError("packing cannot be combined with objective kind bd3lm, which has its own mask of pairs")
        if self.filler != "ignore":
            raise SettingsError(f"packing leaves no filler to train: use filler: ignore, not {self.filler}")

    def _check_blocks(self) -> None:
        if not isinstance(self.objective, BD3LM):
            raise SettingsError(f"filler eos_to_block needs objective kind bd3lm, not {self.objective.kind}")
        if self.max_length % self.objective.block_size:
            raise SettingsError(
                f"filler eos_to_block: max_length {self.max_length} must be a multiple of block_size "
                f"{self.objective.block_size}"
            )
