"""A small encoder that has seen no label, by masked image modelling: Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR
2022."""
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from mm.vision import ConvViT

PATCH = 8  # px, a feature of ConvViT


def pretrained(pixels: Tensor, steps: int, batch: int, width: int, seed: int, depth: int = 2, rate: float = 2e-3, masked: float = 0.3) -> ConvViT:
    """A ConvViT that learned to fill in blanked patches, a share `masked` of all, from those around; frozen. pixels: uint8 [n, 3, 64, 64]."""
    torch.manual_seed(seed)
    encoder = ConvViT(64, width=width, depth=depth)
    paint = nn.Linear(width, 3 * PATCH * PATCH)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *paint.parameters()], lr=rate, weight_decay=0.05)
    schedule = one_cycle(optimizer, rate, steps)
    for _ in range(steps):
        x = encoder.normalised(pixels[torch.randint(len(pixels), (batch,))])
        hidden = torch.rand(batch, 1, *encoder.grid) < masked
        shown = x.masked_fill(hidden.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3), 0.0)
        error = paint(encoder.features(shown)) - pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)
        loss = error.pow(2).mean(-1)[hidden.flatten(1)].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return encoder.requires_grad_(False).eval()


def one_cycle(optimizer: torch.optim.Optimizer, rate: float, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Up to the rate in a tenth of the steps and down again; in two of ten, as a rise of a single step divides by zero in PyTorch."""
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.2 if steps == 10 else 0.1)


@torch.no_grad()
def features_of(encoder: ConvViT, pixels: Tensor, batch: int = 256) -> Tensor:
    """[n, N, width] of uint8 pictures."""
    return torch.cat([encoder(part) for part in pixels.split(batch)])
