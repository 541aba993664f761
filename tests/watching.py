"""Toys with each kind of stream, samples for them, and what comes out of them."""
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mm.models import VLM
from mm.sample import Media, Sample
from mm.streams import AllPrevious, DualCrossAttention, GatedCrossAttention, LlamaVisionCrossAttention, OwnFrame, Stream
from tests.crossings import watching
from tests.toys import FAMILIES
from tests.vlms import picture, text

STREAMS: dict[str, Callable[[], Stream]] = {
    "dual": lambda: DualCrossAttention(every=1), "own frame": lambda: DualCrossAttention(every=2, scope=OwnFrame()),
    "between": lambda: DualCrossAttention(every=1, placement="after_self_attention"),
    "gated": lambda: GatedCrossAttention(every=1, heads=2, head_width=8),
    "gated, all": lambda: GatedCrossAttention(every=2, heads=2, head_width=8, seen=AllPrevious()),
    "llama vision": lambda: LlamaVisionCrossAttention(every=1)}
CLOSE = {"rtol": 0, "atol": 5e-5}
each_stream = pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
each_family = pytest.mark.parametrize("family", FAMILIES)


def clip(seed: int, frames: int) -> Media:
    return replace(picture(seed, frames), kind="clip")


SAMPLES = [watching(1), watching(2, picture(2), clip(3, 3)), text(), watching(4, clip(5, 2), question="what do you see ?")]


def hidden(vlm: VLM, *samples: Sample, left: bool = False) -> list[Tensor]:
    """Of each sample's tokens."""
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in samples], left)
    with torch.no_grad():
        return [states[real] for states, real in zip(vlm.hidden(batch), batch.tokens.is_real, strict=True)]
