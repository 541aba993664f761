"""Self-attention maps of one coarse resolution, averaged over heads: the only place where a map among pixels exists."""
from collections.abc import Callable

import torch
from torch import Tensor

from mm.diffusion.observer import Observer, View
from mm.diffusion.site import Site

LARGEST = 32 * 32


class PixelMaps(Observer):
    """Sums over steps of [P, P] maps of conditional rows, float32, for clustering (DPL).

    reduction: which resolution, by the share of the latents' height: 2 is 32 x 32 of 64 x 64. where: which of these attentions. ValueError beyond
    1024 pixels: a larger map is what everything else here avoids.
    """

    def __init__(self, reduction: float = 2, where: Callable[[Site], bool] = lambda site: True) -> None:
        self.reduction, self.where = reduction, where
        self.sums: dict[tuple[int, int], Tensor] = {}
        self.counts: dict[tuple[int, int], int] = {}

    def wants(self, site: Site) -> bool:
        return site.kind != "cross" and site.reduction == self.reduction and self.where(site)

    @torch.no_grad()
    def observe(self, view: View) -> None:
        pixels = view.site.pixels
        if pixels > LARGEST:
            raise ValueError(f"{view.site.name!r} has {pixels} pixels, and maps among pixels are formed up to {LARGEST}; take a coarser `reduction`")
        call, axes = view.call, view.axes
        scale = call.q.shape[-1] ** -0.5 if call.scale is None else call.scale
        for index, row in enumerate(view.rows):
            if not row.conditional:
                continue
            total = call.q.new_zeros(pixels, pixels, dtype=torch.float32)
            for head in range(call.q.shape[1]):  # one head at a time, so that one map exists
                keys = call.k[index, head * call.k.shape[1] // call.q.shape[1]].float()
                logits = (call.q[index, head, axes.queries][:pixels].float() * scale) @ keys.T
                if call.mask is not None:
                    mask = call.mask[(None,) * (4 - call.mask.dim())].expand(len(view.rows), call.q.shape[1], call.q.shape[2], -1)[index, head]
                    seen = mask[axes.queries][:pixels]
                    logits = logits.masked_fill(~seen, -torch.inf) if seen.dtype == torch.bool else logits + seen
                total += logits.softmax(-1)[:, axes.picture][:, :pixels]
            key = (row.prompt, row.image)
            self.sums[key] = self.sums[key] + total / call.q.shape[1] if key in self.sums else total / call.q.shape[1]
            self.counts[key] = self.counts.get(key, 0) + 1

    def mean(self, prompt: int = 0, image: int = 0) -> Tensor:
        """[P, P], rows sum to 1 (to the picture's share where the text is in the same softmax). ValueError if nothing was recorded."""
        if (prompt, image) not in self.sums:
            raise ValueError(f"no self-attention at 1/{self.reduction:g} of the latents' height was recorded of picture {image} of prompt {prompt}")
        return self.sums[prompt, image] / self.counts[prompt, image]
