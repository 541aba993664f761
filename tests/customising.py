"""Toy customisers: pixels as features, narrow projectors, streams that have something to say."""
import torch
from torch import Tensor, nn

from mm.diffusion.custom import Customiser, SubjectEncoder, SubjectProjector, VisualStream
from mm.vision import Pixels

WIDTH = 6


def eyes() -> SubjectEncoder:
    """Two encoders of 48 + 12 channels at 2 × 2 places."""
    return SubjectEncoder([Pixels(8, 4), Pixels(4, 2)], side=8)


def customiser(denoiser: nn.Module) -> Customiser:
    torch.manual_seed(5)
    stream = VisualStream.beside(denoiser, WIDTH)
    for value in stream.values.values():
        nn.init.normal_(value.weight)  # type: ignore[arg-type]
    return Customiser(eyes(), SubjectProjector(60, WIDTH, hidden=16, heads=2), stream)


def pictures(count: int, height: int = 16, width: int = 16) -> Tensor:
    return torch.randint(256, (count, 3, height, width), generator=torch.Generator().manual_seed(6), dtype=torch.uint8)
