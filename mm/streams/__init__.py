"""What crosses from the vision encoder to the language model: one file a projector."""
from mm.streams.attention import CrossAttention
from mm.streams.base import ClipProjector, FrameByFrame, FrameProjector, Grid, Placeless, Places, Projector, TokenwiseProjector
from mm.streams.linear import Linear
from mm.streams.mlp import MLP

__all__ = ["Projector", "FrameProjector", "TokenwiseProjector", "ClipProjector", "Grid", "Places", "FrameByFrame", "Placeless", "CrossAttention",
           "Linear", "MLP"]
