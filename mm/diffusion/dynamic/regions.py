"""What is background: Wang et al., "Dynamic Prompt Learning: Addressing Cross-Attention Leakage for Text-Based Image Editing", NeurIPS 2023.

Pixels that look at the same places are one region, and a region that no noun looks at is background.
"""
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mm.diffusion.dynamic.clusters import kmeans


@dataclass(frozen=True)
class Regions:
    """clusters: of the rows of the self-attention map. threshold: of a noun's mean attention in a region, as a share of its highest, above which the
    region is the noun's. seed, restarts: of k-means."""

    clusters: int = 5
    threshold: float = 0.2
    seed: int = 1
    restarts: int = 10

    def background(self, looks: Tensor, nouns: Tensor) -> Tensor:
        """[H, W] bool, at the size of `nouns` [N, H, W], the nouns' attention; looks [h, w, h · w]: where each pixel looks."""
        height, width = looks.shape[:2]
        labels = kmeans(looks.flatten(0, 1), self.clusters, self.seed, self.restarts).view(height, width)
        free = union(labels, owners(labels, nouns.cpu(), self.threshold))
        return _resized(free[None].float(), nouns.shape[-2], nouns.shape[-1])[0].bool().to(nouns.device)


def owners(labels: Tensor, nouns: Tensor, threshold: float) -> Tensor:
    """[clusters]: the noun that each cluster of labels [h, w] belongs to, -1 for background; nouns [N, H, W] are their attention.

    A cluster goes to the noun with the highest mean, after each noun's attention is shifted by its lowest and divided by its highest value, if that
    mean is above `threshold`.
    """
    lowest, highest = nouns.amin((-2, -1), keepdim=True).abs(), nouns.amax((-2, -1), keepdim=True)
    relative = _resized((nouns - lowest) / highest, *labels.shape).flatten(1)
    flat = labels.flatten()
    sizes = flat.bincount()
    means = relative.new_zeros(len(nouns), len(sizes)).index_add_(1, flat, relative) / sizes.clamp(min=1)
    best, owner = means.max(0)
    return torch.where(best > threshold, owner, -1)


def union(labels: Tensor, owner: Tensor) -> Tensor:
    """[h, w] bool: pixels of the clusters that no noun owns."""
    return owner[labels] == -1


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    """[N, height, width], nearest."""
    return interpolate(maps[None], size=(height, width), mode="nearest")[0]
