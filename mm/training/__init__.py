"""Training: the Lightning module and data module, and the callbacks that keep a run honest. Only this package and train.py know Lightning."""
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

__all__ = ["Supervised", "Data", "Optim", "Muon", "Schedule", "Cosine", "Linear", "Constant", "token_loss", "UncertaintyWeighted", "Journal",
           "JSONLines", "Progress", "Checkpoints", "AtomicIO", "Export", "Preemption", "FastestPrecision", "Randomness", "CheckpointError",
           "NonFinite", "Interrupted"]
