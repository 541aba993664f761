"""Small projectors with learned queries, one of each kind, and features for them."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mm.streams import CausalCeil, CausalCrossAttention, CausalFloor, ClipTime, Full, Projector, QFormer, Resampler

Factory = Callable[[int, int], Projector]

FACTORIES: dict[str, Factory] = {
    "ccam v1.0": lambda i, o: CausalCrossAttention(i, o, queries=6, heads=2),
    "ccam v1.2": lambda i, o: CausalCrossAttention(i, o, queries=6, width=8, heads=2, key_heads=1, ffn="gated", intermediate=12),
    "ccam floor": lambda i, o: CausalCrossAttention(i, o, queries=5, heads=2, mask=CausalFloor()),
    "full, with time": lambda i, o: CausalCrossAttention(i, o, queries=6, heads=2, mask=Full(), time=ClipTime(2)),
    "ceil, with time": lambda i, o: CausalCrossAttention(i, o, queries=6, heads=2, mask=CausalCeil(), time=ClipTime(2)),
    "resampler": lambda i, o: Resampler(i, o, latents=4, depth=2, heads=2, head_width=4, expansion=2),
    "resampler, with frames": lambda i, o: Resampler(i, o, latents=4, depth=2, heads=2, head_width=4, expansion=2, max_frames=24),
    "q-former": lambda i, o: QFormer(i, o, queries=3, width=8, depth=3, heads=2, intermediate=12),
}


def made(name: str, in_width: int = 8, out_width: int = 10, seed: int = 0) -> Projector:
    """In evaluation mode and float64, with queries large enough for attention to matter."""
    torch.manual_seed(seed)
    projector = FACTORIES[name](in_width, out_width).eval().double()
    with torch.no_grad():
        for parameter in projector.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn_like(parameter) * 0.5)
    return projector


def features(frames: Sequence[int], tokens: int = 6, width: int = 8, seed: int = 0) -> Tensor:
    """float64 [F, tokens, width] of media of so many frames."""
    return torch.randn(sum(frames), tokens, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
