"""k-means: Lloyd, "Least squares quantization in PCM", 1982, from seeds of Arthur and Vassilvitskii, "k-means++", SODA 2007."""
import torch
from torch import Tensor


def kmeans(points: Tensor, clusters: int, seed: int = 1, restarts: int = 10, rounds: int = 100) -> Tensor:
    """[n]: the cluster of each of the points [n, d], of the best of several starts. The same seed gives the same clusters; which number a cluster has
    means nothing. Computed in float64 on the CPU: a thousand points, once a picture.
    """
    if not 1 <= clusters <= len(points):
        raise ValueError(f"{clusters} clusters of {len(points)} points; expected at least 1 and at most one a point")
    points = points.detach().to("cpu", torch.float64)
    draws = torch.Generator().manual_seed(seed)
    labels, errors = zip(*(_once(points, _seeds(points, clusters, draws), rounds) for _ in range(restarts)), strict=True)
    return labels[min(range(restarts), key=lambda run: errors[run])]


def _seeds(points: Tensor, clusters: int, draws: torch.Generator) -> Tensor:
    """Each is drawn with the square of its distance to those before."""
    chosen = points[torch.randint(len(points), (1,), generator=draws)]
    while len(chosen) < clusters:
        far = torch.cdist(points, chosen).amin(1).square()
        weights = far if bool(far.any()) else torch.ones_like(far)
        chosen = torch.cat([chosen, points[torch.multinomial(weights, 1, generator=draws)]])
    return chosen


def _once(points: Tensor, centres: Tensor, rounds: int) -> tuple[Tensor, float]:
    labels = torch.full((len(points),), -1)
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        if torch.equal(nearest, labels):
            break
        labels = nearest
        sums = torch.zeros_like(centres).index_add_(0, labels, points)
        sizes = labels.bincount(minlength=len(centres))[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)  # a cluster that lost all its points stays where it was
    return labels, (points - centres[labels]).square().sum().item()
