"""The running average of weights, with which diffusion models are sampled: Polyak & Juditsky, "Acceleration of Stochastic Approximation by
Averaging", SIAM Journal on Control and Optimization, 1992; in exponential form."""
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """decay: of one optimiser step; it rises to this from 0.1 as (1 + step) / (10 + step), so that the beginning is forgotten.

    Averages are float32, of what trains only.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {}
        if not 0 <= decay < 1:
            raise ValueError(f"Average: decay {decay}; expected at least 0 and below 1.")

    def start(self, model: nn.Module) -> None:
        self.values = {name: parameter.detach().float().clone() for name, parameter in trained(model).items()}

    def to(self, device: torch.device) -> None:
        self.values = {name: value.to(device) for name, value in self.values.items()}

    def load(self, values: Mapping[str, Tensor] | None) -> None:
        """Go on with the averages of a checkpoint; without any, as when averaging is asked for in the middle of a run, start from its weights."""
        for name, value in (values or {}).items():
            self.values[name].copy_(value)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """step: optimiser steps made, 1 after the first."""
        weights = trained(model)
        averages, news = [self.values[name] for name in weights], [weight.detach().float() for weight in weights.values()]
        torch._foreach_lerp_(averages, news, 1 - min(self.decay, (1 + step) / (10 + step)))

    @contextmanager
    def used(self, model: nn.Module) -> Iterator[None]:
        """Within, the model has its averaged weights."""
        weights = trained(model)
        kept = {name: parameter.detach().clone() for name, parameter in weights.items()}
        fill(weights, self.values)
        try:
            yield
        finally:
            fill(weights, kept)


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def fill(weights: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    for name, parameter in weights.items():
        parameter.copy_(values[name])
