"""Background from clustered self-attention. Clusters are compared as masks: their numbers mean nothing."""
import pytest
import torch

from mm.diffusion.dynamic.clusters import kmeans
from mm.diffusion.dynamic.regions import Regions


def same_parts(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one[:, None] == one, other[:, None] == other)


def test_clouds_that_lie_apart_are_found_whatever_the_seed() -> None:
    draws = torch.Generator().manual_seed(0)
    truth = torch.arange(4).repeat_interleave(20)
    points = torch.eye(4)[truth] * 10 + torch.randn(80, 4, generator=draws)
    assert all(same_parts(kmeans(points, 4, seed), truth) for seed in range(3))


def test_trap_a_seed_gives_the_same_clusters_and_leaves_the_global_one_alone() -> None:
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    assert torch.equal(kmeans(points, 5, seed=1), kmeans(points, 5, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_points_that_coincide_are_clustered_too() -> None:
    assert kmeans(torch.ones(6, 2), 3).shape == (6,)


def test_more_clusters_than_points_are_refused() -> None:
    with pytest.raises(ValueError, match="7 clusters of 6 points"):
        kmeans(torch.ones(6, 2), 7)


def test_what_no_noun_looks_at_is_background() -> None:
    """Pixels of the left, the right and the middle look at their own third; one noun looks left, another right."""
    thirds = torch.arange(12).repeat(12, 1) // 4
    looks = (thirds.flatten()[:, None] == thirds.flatten()).float()
    looks = (looks / looks.sum(1, keepdim=True)).view(12, 12, 144)
    small = torch.arange(6).repeat(6, 1) // 2
    nouns = torch.stack([small == 0, small == 2]).float() * 0.8 + 0.1
    assert torch.equal(Regions(clusters=3).background(looks, nouns), small == 1)
    assert not Regions(clusters=3).background(looks, torch.cat([nouns, (small == 1)[None]])).any()
