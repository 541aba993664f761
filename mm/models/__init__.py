"""Vision-language models assembled from parts."""
from mm.models.batch import Batch, Output
from mm.models.layout import Branches, Dialogue, Layout
from mm.models.processor import Geometry, Processor, Row
from mm.models.steer import steer
from mm.models.vlm import VLM

__all__ = ["VLM", "Batch", "Output", "Layout", "Dialogue", "Branches", "Processor", "Geometry", "Row", "steer"]
