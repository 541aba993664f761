"""Vision-language models assembled from parts."""
from mm.models.batch import Batch, Output
from mm.models.families import token_map
from mm.models.layout import Branches, Dialogue, Layout
from mm.models.picture_sets import picture_sets
from mm.models.processor import Geometry, Processor, Row
from mm.models.questions import Prompts, Questions, Samples
from mm.models.sinks import NoSinkChannelsError, measured_sink_channels, sink_channels
from mm.models.steer import steer
from mm.models.vlm import VLM

__all__ = ["VLM", "Batch", "Output", "Layout", "Dialogue", "Branches", "Processor", "Geometry", "Row", "steer", "token_map", "picture_sets",
           "Questions", "Samples", "Prompts", "sink_channels", "measured_sink_channels", "NoSinkChannelsError"]
