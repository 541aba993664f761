"""Who sees whom: one rule a file; combine with `&` and `|`."""
from mm.masks.base import BlindTokenError, Mask
from mm.masks.causal import Causal
from mm.masks.document import Document
from mm.masks.image_block import ImageBlock
from mm.masks.prefix import Prefix
from mm.masks.prefix_tree import PrefixTree

__all__ = ["Mask", "BlindTokenError", "Causal", "Document", "ImageBlock", "Prefix", "PrefixTree"]
