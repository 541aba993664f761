"""What crosses from the vision encoder to the language model: one file a projector."""
from mm.streams.base import Projector
from mm.streams.linear import Linear
from mm.streams.mlp import MLP

__all__ = ["Projector", "Linear", "MLP"]
