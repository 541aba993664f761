"""Vision-token merging of VMTC + CMAI. A reconstruction: of the paper only the abstract could be read, there is no code, and no figure is claimed.

Patches that others attend to are kept; the rest is clustered by direction, and each cluster becomes one token, the mean of its members weighted by
how much attention they receive. Attention is not taken from the encoder (its kernels give no weights) but measured among the features: softmax over
scaled cosine similarity. That, and k-means with farthest-point seeds, are our choice.
"""
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from mm.keep.base import Grid, Keep


class VMTC(Keep):
    """The `kept` most attended features of each frame in their order, then `merged` means of the others.

    Args:
        kept: features handed on as they are.
        merged: clusters of what is left; 0 drops it.
        sharpness: factor on cosine similarity before the softmax.
        rounds: of k-means. Deterministic: the first seed is the least attended feature, each further one the farthest from its nearest seed.

    With `kept` at the number of features it is the identity, to the bit. Gradients flow through kept and merged features; the choice is detached.
    Where features of several layers stand side by side, similarity is that of all of them, so the layer with the largest norms says most.
    """

    def __init__(self, kept: int, merged: int, sharpness: float = 10.0, rounds: int = 4) -> None:
        if kept < 1 or merged < 0 or rounds < 1:
            raise ValueError(f"VMTC: kept and rounds are at least 1 and merged at least 0; got kept={kept}, merged={merged}, rounds={rounds}")
        self.kept, self.merged, self.sharpness, self.rounds = kept, merged, sharpness, rounds

    def num_tokens(self, grid: Grid) -> int:
        count = grid[0] * grid[1]
        if self.kept == count:
            return count
        if self.kept + max(self.merged, 1) > count:
            raise ValueError(f"VMTC: kept={self.kept} and merged={self.merged} of the {count} features that a {grid[0]}x{grid[1]} grid has; "
                             f"keep fewer, or kept={count} for all of them")
        return self.kept + self.merged

    def out_grid(self, grid: Grid) -> Grid | None:
        return grid if self.kept == grid[0] * grid[1] else None

    def __call__(self, features: Tensor, grid: Grid) -> Tensor:
        if self.num_tokens(grid) == features.shape[1]:
            return features
        with torch.no_grad():
            direction = normalize(features.float(), dim=-1)
            received = attention_received(direction, self.sharpness)
            order = received.argsort(dim=1, descending=True, stable=True)
            chosen, rest = order[:, :self.kept].sort(1).values, order[:, self.kept:].sort(1).values
        kept = taken(features, chosen)
        if not self.merged:
            return kept
        others, weight = taken(features, rest), received.gather(1, rest)
        with torch.no_grad():
            cluster = clusters(taken(direction, rest), weight, self.merged, self.rounds)
            share = one_hot(cluster, self.merged).to(weight.dtype) * weight.unsqueeze(-1)  # [F, R, M]
            share = (share / share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)).to(features.dtype)
        return torch.cat([kept, share.transpose(1, 2) @ others], 1)

    def __repr__(self) -> str:
        return f"VMTC(kept={self.kept}, merged={self.merged})"


def taken(features: Tensor, index: Tensor) -> Tensor:
    """features [F, P, C] at index [F, K] → [F, K, C]."""
    return features.gather(1, index.unsqueeze(-1).expand(-1, -1, features.shape[-1]))


def attention_received(direction: Tensor, sharpness: float) -> Tensor:
    """Mean attention that each of the unit vectors [F, P, C] receives from all of its frame, [F, P]; sums to one."""
    return (sharpness * direction @ direction.transpose(1, 2)).softmax(-1).mean(1)


def clusters(direction: Tensor, weight: Tensor, count: int, rounds: int) -> Tensor:
    """Cluster of each unit vector [F, R, C] by k-means on the sphere, [F, R]; none is empty."""
    seeds = weight.argmin(1, keepdim=True)
    nearest = (direction @ taken(direction, seeds).transpose(1, 2)).squeeze(-1)  # cosine to the nearest seed
    for _ in range(count - 1):
        further = nearest.scatter(1, seeds, torch.inf).argmin(1, keepdim=True)  # never one again, where features coincide
        seeds = torch.cat([seeds, further], 1)
        nearest = torch.maximum(nearest, (direction @ taken(direction, seeds[:, -1:]).transpose(1, 2)).squeeze(-1))
    centres = taken(direction, seeds)
    for _ in range(rounds):
        cluster = (direction @ centres.transpose(1, 2)).argmax(-1)
        member = one_hot(cluster, count).to(direction.dtype) * weight.unsqueeze(-1)
        total = member.transpose(1, 2) @ direction
        centres = torch.where(total.norm(dim=-1, keepdim=True) > 0, normalize(total, dim=-1), centres)
    # Of coincident features all are nearest to the same centre; each cluster of such a frame gets its seed back.
    own = cluster.scatter(1, seeds, torch.arange(count, device=seeds.device).expand_as(seeds))
    short = (one_hot(cluster, count).sum(1) == 0).any(1, keepdim=True)
    return torch.where(short, own, cluster)
