"""AdamW over the groups of `rates`, with the schedule applied as a pure function of the step."""
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from mm.training.rates import Group
from mm.training.schedule import Schedule


class Optim:
    """AdamW: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

    weight_decay: of matrices. clip: largest global gradient norm, 0 for none. fused: torch's one-kernel step, faster on CPU too.
    """

    def __init__(self, betas: tuple[float, float] = (0.9, 0.98), eps: float = 1e-8, weight_decay: float = 0.01, clip: float = 1.0,
                 fused: bool = True) -> None:
        self.betas, self.eps, self.weight_decay, self.clip, self.fused = betas, eps, weight_decay, clip, fused

    def build(self, model: nn.Module, groups: Sequence[Group]) -> AdamW:
        """The optimiser of `model` with one parameter group for each of `groups`, in their order."""
        return AdamW(self.settings_of(model, groups), fused=self.fused)

    def settings_of(self, model: nn.Module, groups: Sequence[Group]) -> list[dict[str, Any]]:
        parameters = dict(model.named_parameters())
        return [{"params": [parameters[name] for name in group.names], **self.settings(group)} for group in groups]

    def settings(self, group: Group) -> dict[str, Any]:
        return {"lr": group.lr, "betas": tuple(self.betas), "eps": self.eps, "weight_decay": self.weight_decay if group.decays else 0.0}

    def apply(self, optimizer: Optimizer, groups: Sequence[Group], schedule: Schedule, step: int, steps: int) -> None:
        """Put the configured settings of this step into the optimiser; what a checkpoint brought along for them gives way to the configuration."""
        factor = schedule.factor(step, steps)
        for settings, group in zip(optimizer.param_groups, groups, strict=True):
            settings.update(self.settings(group), lr=group.lr * factor)
