"""What a denoiser learns to say of a noisy latent: three parametrisations of one and the same knowledge, as classes that convert into each other.

A latent x₀ and noise n give z = α x₀ + σ n. Each prediction is a line in (x₀, n); whoever knows z and the prediction knows both.
"""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Objective(ABC):
    """sampler: what `prediction_type` of a diffusers scheduler is called that samples from such a model; None for flow matching schedulers."""

    sampler: str | None

    @abstractmethod
    def levels(self, u: Tensor, scheduler: Any) -> tuple[Tensor, Tensor, Tensor]:
        """u: uniform numbers in [0, 1), [B] → timesteps as the denoiser wants them, α and σ, each [B] float32."""

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the denoiser is to predict; all of one shape, or broadcasting to it."""

    @abstractmethod
    def clean(self, noisy: Tensor, prediction: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """x₀ as the prediction has it."""

    @abstractmethod
    def slope(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """|∂x₀ / ∂prediction|: an error of the prediction times this is the error of x₀."""

    def noise(self, noisy: Tensor, prediction: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """n as the prediction has it; not defined where σ = 0."""
        return (noisy - alpha * self.clean(noisy, prediction, alpha, sigma)) / sigma

    def check(self, config: Mapping[str, Any]) -> None:
        """ValueError unless the scheduler of the pipeline samples from such a model."""
        found = config.get("prediction_type") if "num_train_timesteps" in config and "beta_schedule" in config else None
        if found != self.sampler:
            raise ValueError(f"{type(self).__name__} trains a model whose scheduler has prediction_type {self.sampler!r}, and the pipeline's has "
                             f"{found!r}; choose the objective that the scheduler samples from, or leave it out.")


class Diffusion(Objective):
    """Variance-preserving noise at a uniformly drawn timestep of the scheduler: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models",
    NeurIPS 2020."""

    def levels(self, u: Tensor, scheduler: Any) -> tuple[Tensor, Tensor, Tensor]:
        table = scheduler.alphas_cumprod.to(u.device)
        timesteps = (u * len(table)).long()
        kept = table[timesteps]
        return timesteps, kept.sqrt(), (1 - kept).sqrt()


class Epsilon(Diffusion):
    """The noise: Ho, Jain & Abbeel, NeurIPS 2020."""

    sampler = "epsilon"

    def target(self, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return noise

    def clean(self, noisy: Tensor, prediction: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (noisy - sigma * prediction) / alpha

    def slope(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / alpha


class VPrediction(Diffusion):
    """v = α n − σ x₀: Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR 2022."""

    sampler = "v_prediction"

    def target(self, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return alpha * noise - sigma * clean

    def clean(self, noisy: Tensor, prediction: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return alpha * noisy - sigma * prediction

    def slope(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma


class FlowMatching(Objective):
    """The velocity n − x₀ along z = (1 − σ) x₀ + σ n: Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023; with the logit-normal times
    of Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024.

    location, scale: of the normal distribution that logit(σ) has. The denoiser is told 1000 σ where the scheduler has 1000 training timesteps.
    The scheduler's shift is one of sampling; training does not apply it (our choice, as in the training scripts of diffusers).
    """

    sampler = None

    def __init__(self, location: float = 0.0, scale: float = 1.0) -> None:
        self.location, self.scale = location, scale
        if scale <= 0:
            raise ValueError(f"FlowMatching: scale {scale}; expected a deviation above 0.")

    def levels(self, u: Tensor, scheduler: Any) -> tuple[Tensor, Tensor, Tensor]:
        normal = torch.special.ndtri(u.double().clamp(1e-6, 1 - 1e-6)).float()
        sigma = torch.sigmoid(self.location + self.scale * normal)
        return sigma * scheduler.config.num_train_timesteps, 1 - sigma, sigma

    def target(self, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return noise - clean

    def clean(self, noisy: Tensor, prediction: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (noisy - sigma * prediction) / (alpha + sigma)

    def slope(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / (alpha + sigma)


def objective_of(config: Mapping[str, Any]) -> Objective:
    """The objective whose models a scheduler with this configuration samples from. ValueError where it names another prediction."""
    known: tuple[Objective, ...] = (Epsilon(), VPrediction())
    if "beta_schedule" not in config:
        return FlowMatching()
    for objective in known:
        if objective.sampler == config.get("prediction_type"):
            return objective
    raise ValueError(f"a scheduler with prediction_type {config.get('prediction_type')!r} is not trained for; known are "
                     f"{', '.join(str(objective.sampler) for objective in known)}, and flow matching.")


class Weighting(ABC):
    """Factor on the loss of a noise level."""

    @abstractmethod
    def weight(self, objective: Objective, alpha: Tensor, sigma: Tensor) -> Tensor:
        """[B] → [B]."""


class Even(Weighting):
    """Every level alike: the plain squared error of the prediction."""

    def weight(self, objective: Objective, alpha: Tensor, sigma: Tensor) -> Tensor:
        return torch.ones_like(alpha)


class MinSNR(Weighting):
    """min(SNR, γ) on the squared error of x₀: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", ICCV 2023.

    gamma: of the paper, 5. On ε the factor is min(SNR, γ) / SNR, on v min(SNR, γ) / (SNR + 1).
    """

    def __init__(self, gamma: float = 5.0) -> None:
        self.gamma = gamma
        if gamma <= 0:
            raise ValueError(f"MinSNR: gamma {gamma}; expected a ratio above 0.")

    def weight(self, objective: Objective, alpha: Tensor, sigma: Tensor) -> Tensor:
        ratio = alpha.square() / sigma.square().clamp_min(1e-12)
        return ratio.clamp(max=self.gamma) * objective.slope(alpha, sigma).square()
