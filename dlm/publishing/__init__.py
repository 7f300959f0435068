"""A checkpoint packed for a hub: its files, and a model card written from its lineage. No torch."""

from dlm.publishing.packing import pack
from dlm.publishing.uploading import upload

__all__ = ["pack", "upload"]
