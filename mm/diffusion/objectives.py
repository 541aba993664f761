"""What a denoiser learns to say of a noisy latent, and at which noise levels; the algebra of it is `mm.diffusion.prediction`."""
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from mm.diffusion.prediction import Kind, Level, slope
from mm.diffusion.schedule import Scheduler, kind_of, levels


class Objective(ABC):
    """kind: of the predictions that are trained for."""

    kind: ClassVar[Kind]

    @abstractmethod
    def levels(self, u: Tensor, scheduler: Scheduler) -> tuple[Tensor, Level]:
        """u: uniform numbers in [0, 1), [B] → timesteps as the denoiser wants them, [B], and their levels, each [B] float32."""

    def check(self, scheduler: Scheduler) -> None:
        """ValueError unless the scheduler of the pipeline samples from such a model."""
        found = kind_of(scheduler)
        if found != self.kind:
            raise ValueError(f"{type(self).__name__} trains a model whose scheduler has prediction_type {self.kind!r}, and the pipeline's has "
                             f"{found!r}; choose the objective that the scheduler samples from, or leave it out.")


class Diffusion(Objective):
    """Variance-preserving noise at a uniformly drawn timestep of the scheduler: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models",
    NeurIPS 2020."""

    def levels(self, u: Tensor, scheduler: Scheduler) -> tuple[Tensor, Level]:
        known = levels(scheduler)
        timesteps = (u * len(known.table)).long()
        return timesteps, known.at(timesteps, known.table.new_empty(len(u), device=u.device))


class Epsilon(Diffusion):
    """The noise: Ho, Jain & Abbeel, NeurIPS 2020."""

    kind = "epsilon"


class VPrediction(Diffusion):
    """v = α n − σ x₀: Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR 2022."""

    kind = "v_prediction"


class FlowMatching(Objective):
    """The velocity n − x₀ along z = (1 − σ) x₀ + σ n: Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023; with the logit-normal times
    of Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024.

    location, scale: of the normal distribution that logit(σ) has. The denoiser is told 1000 σ where the scheduler has 1000 training timesteps.
    The scheduler's shift is one of sampling; training does not apply it (our choice, as in the training scripts of diffusers).
    """

    kind = "flow_prediction"

    def __init__(self, location: float = 0.0, scale: float = 1.0) -> None:
        self.location, self.scale = location, scale
        if scale <= 0:
            raise ValueError(f"FlowMatching: scale {scale}; expected a deviation above 0.")

    def levels(self, u: Tensor, scheduler: Scheduler) -> tuple[Tensor, Level]:
        normal = torch.special.ndtri(u.double().clamp(1e-6, 1 - 1e-6)).float()
        sigma = torch.sigmoid(self.location + self.scale * normal)
        return sigma * scheduler.config.num_train_timesteps, Level(1 - sigma, sigma)


def objective_of(scheduler: Scheduler) -> Objective:
    """The objective whose models a scheduler samples from. ValueError where it names another prediction."""
    known: tuple[Objective, ...] = (Epsilon(), VPrediction(), FlowMatching())
    found = kind_of(scheduler)
    for objective in known:
        if objective.kind == found:
            return objective
    raise ValueError(f"a scheduler with prediction_type {found!r} is not trained for; known are {', '.join(each.kind for each in known)}.")


class Weighting(ABC):
    """Factor on the loss of a noise level."""

    @abstractmethod
    def weight(self, kind: Kind, level: Level) -> Tensor:
        """On the squared error of predictions of this kind; levels [B] → [B]."""


class Even(Weighting):
    """Every level alike: the plain squared error of the prediction."""

    def weight(self, kind: Kind, level: Level) -> Tensor:
        return torch.ones_like(level.alpha)


class MinSNR(Weighting):
    """min(SNR, γ) on the squared error of x₀: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", ICCV 2023.

    gamma: of the paper, 5. On ε the factor is min(SNR, γ) / SNR, on v min(SNR, γ) / (SNR + 1).
    """

    def __init__(self, gamma: float = 5.0) -> None:
        self.gamma = gamma
        if gamma <= 0:
            raise ValueError(f"MinSNR: gamma {gamma}; expected a ratio above 0.")

    def weight(self, kind: Kind, level: Level) -> Tensor:
        ratio = level.alpha.square() / level.sigma.square().clamp_min(1e-12)
        return ratio.clamp(max=self.gamma) * slope(kind, level).square()
