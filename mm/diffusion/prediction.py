"""What a diffusion model's output says: every kind of prediction as the clean latent and the noise that it implies.

A noisy latent is z = alpha x + sigma e. Kinds: `epsilon` (Ho et al., NeurIPS 2020) predicts e; `sample` predicts x; `v_prediction` (Salimans and Ho,
ICLR 2022) predicts alpha e - sigma x; `flow_prediction` (Lipman et al., ICLR 2023; Liu et al., ICLR 2023), with alpha = 1 - sigma, predicts e - x.
"""
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

Kind: TypeAlias = Literal["epsilon", "sample", "v_prediction", "flow_prediction"]


class Level(NamedTuple):
    """How noisy: z = alpha · clean + sigma · noise. Shapes broadcast against latents."""

    alpha: Tensor
    sigma: Tensor


class Parts(NamedTuple):
    """A latent taken apart, both in its shape."""

    clean: Tensor
    noise: Tensor


def kind(name: object) -> Kind:
    """The kind that a scheduler's `prediction_type` names; ValueError for another."""
    for known in get_args(Kind):
        if name == known:
            return known
    raise ValueError(f"prediction_type {name!r} is not known; expected one of {', '.join(get_args(Kind))}.")


def parts(kind: Kind, prediction: Tensor, z: Tensor, level: Level) -> Parts:
    """What `prediction`, made of `z` at `level`, says of `z`. Guidance mixes predictions of one z, so it may come before or after.

    Without signal (alpha = 0) `epsilon` says nothing about the clean latent, and without noise (sigma = 0) `sample` nothing about the noise:
    infinite there.
    """
    alpha, sigma = level
    match kind:
        case "epsilon":
            return Parts((z - sigma * prediction) / alpha, prediction)
        case "sample":
            return Parts(prediction, (z - alpha * prediction) / sigma)
        case "v_prediction":
            return Parts(alpha * z - sigma * prediction, alpha * prediction + sigma * z)
        case "flow_prediction":
            return Parts(z - sigma * prediction, z + alpha * prediction)


def target(kind: Kind, clean: Tensor, noise: Tensor, level: Level) -> Tensor:
    """What a model that knew both would predict of `level.alpha * clean + level.sigma * noise`."""
    match kind:
        case "epsilon":
            return noise
        case "sample":
            return clean
        case "v_prediction":
            return level.alpha * noise - level.sigma * clean
        case "flow_prediction":
            return noise - clean


def slope(kind: Kind, level: Level) -> Tensor:
    """|d clean / d prediction|: an error of the prediction times this is the error of the clean latent."""
    match kind:
        case "epsilon":
            return level.sigma / level.alpha
        case "sample":
            return torch.ones_like(level.alpha)
        case "v_prediction" | "flow_prediction":
            return level.sigma
