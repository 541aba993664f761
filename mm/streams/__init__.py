"""What crosses from the vision encoder to the language model: one file a method."""
from mm.streams.attention import CrossAttention
from mm.streams.base import ClipProjector, FrameByFrame, FrameProjector, Grid, Placeless, Places, Projector, TokenwiseProjector
from mm.streams.c_abstractor import CAbstractor
from mm.streams.causal_cross_attention import CausalCrossAttention
from mm.streams.clip_time import ClipTime
from mm.streams.dual import DualCrossAttention
from mm.streams.efficient_probing import EfficientProbing
from mm.streams.frame_mask import CausalCeil, CausalFloor, FrameMask, Full, LastSeen
from mm.streams.gated import GatedCrossAttention
from mm.streams.linear import Linear
from mm.streams.llama_vision import LlamaVisionCrossAttention
from mm.streams.marker import Marker
from mm.streams.mlp import MLP
from mm.streams.pixel_shuffle import PixelShuffle, PixelShuffleMLP
from mm.streams.pool2d import Pool2d
from mm.streams.qformer import QFormer
from mm.streams.raster_with_ends import RasterWithEnds
from mm.streams.resampler import Resampler
from mm.streams.scope import OwnFrame, Scope, WholeMedium
from mm.streams.seen import AllPrevious, Immediate, Seen
from mm.streams.sources import Sources, showing
from mm.streams.stream import Block, Shape, Stream
from mm.streams.token_packer import TokenPacker

__all__ = ["Projector", "FrameProjector", "TokenwiseProjector", "ClipProjector", "Grid", "Places", "FrameByFrame", "Placeless", "RasterWithEnds",
           "CrossAttention", "Linear", "MLP", "PixelShuffle", "PixelShuffleMLP", "Pool2d", "CAbstractor", "TokenPacker", "EfficientProbing",
           "CausalCrossAttention", "FrameMask", "CausalCeil", "CausalFloor", "Full", "LastSeen", "ClipTime", "Resampler", "QFormer", "Marker",
           "Stream", "Block", "Shape", "DualCrossAttention", "GatedCrossAttention", "LlamaVisionCrossAttention", "Seen", "AllPrevious",
           "Immediate", "Scope", "WholeMedium", "OwnFrame", "Sources", "showing"]
