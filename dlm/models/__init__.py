"""Any checkpoint as a denoiser: making, loading, converting and saving."""

from dlm.models.attention import require_pair_masks, use_flex_attention
from dlm.models.caching import Columns, Prefix, require_cache
from dlm.models.conventions import Conventions, read_conventions
from dlm.models.converting import convert_checkpoint
from dlm.models.denoiser import Denoiser, end_of_turn_id
from dlm.models.describing import described_network
from dlm.models.making import make_denoiser
from dlm.models.opening import open_attention
from dlm.models.probing import is_bidirectional
from dlm.models.restoring import convert_back
from dlm.models.storing import ADAPTER, load_denoiser, load_tokenizer, pick_device, save_denoiser

__all__ = [
    "ADAPTER",
    "Columns",
    "Conventions",
    "Denoiser",
    "Prefix",
    "convert_back",
    "convert_checkpoint",
    "described_network",
    "end_of_turn_id",
    "is_bidirectional",
    "load_denoiser",
    "load_tokenizer",
    "make_denoiser",
    "open_attention",
    "pick_device",
    "read_conventions",
    "require_cache",
    "require_pair_masks",
    "save_denoiser",
    "use_flex_attention",
]
