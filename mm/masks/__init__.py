"""Who sees whom: one rule a file; combine with `&` and `|`, or in YAML with `Both` and `Either`."""
from mm.masks.base import BlindTokenError, Both, Either, Mask
from mm.masks.causal import Causal
from mm.masks.composite import Composite
from mm.masks.context_bidirectional import ContextBidirectional
from mm.masks.croc_mixed import CrocMixed
from mm.masks.document import Document
from mm.masks.image_block import ImageBlock
from mm.masks.modality_mutual import ModalityMutual
from mm.masks.position_causal import PositionCausal
from mm.masks.power import Power
from mm.masks.prefix import Prefix
from mm.masks.prefix_tree import PrefixTree
from mm.masks.sink_window import SinkWindow

__all__ = ["Mask", "BlindTokenError", "Both", "Either", "Causal", "Composite", "ContextBidirectional", "CrocMixed", "Document", "ImageBlock",
           "ModalityMutual", "PositionCausal", "Power", "Prefix", "PrefixTree", "SinkWindow"]
