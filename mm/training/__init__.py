"""Training: the Lightning modules and data module, and the callbacks that keep a run honest. Only this package and train.py know Lightning.

`TextToImage` and `Average` are imported when first used: most runs need no diffusers.
"""
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mm.training.checkpoint import AtomicIO, CheckpointError, Checkpoints
from mm.training.data import Data
from mm.training.export import Export
from mm.training.generators import Randomness
from mm.training.halt import NonFinite
from mm.training.journal import Journal
from mm.training.jsonl import JSONLines
from mm.training.loss import token_loss
from mm.training.muon import Muon
from mm.training.optim import Optim
from mm.training.precision import FastestPrecision
from mm.training.preemption import Interrupted, Preemption
from mm.training.progress import Progress
from mm.training.schedule import Constant, Cosine, Linear, Schedule
from mm.training.supervised import Supervised
from mm.training.uncertainty import UncertaintyWeighted

if TYPE_CHECKING:
    from mm.training.average import Average
    from mm.training.customisation import Customisation
    from mm.training.text_to_image import TextToImage

__all__ = ["Supervised", "TextToImage", "Customisation", "Average", "Data", "Optim", "Muon", "Schedule", "Cosine", "Linear", "Constant", "token_loss",
           "UncertaintyWeighted", "Journal",
           "JSONLines", "Progress", "Checkpoints", "AtomicIO", "Export", "Preemption", "FastestPrecision", "Randomness", "CheckpointError",
           "NonFinite", "Interrupted"]

_HOME = {"Customisation": "mm.training.customisation", "TextToImage": "mm.training.text_to_image", "Average": "mm.training.average"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mm.training' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
