"""Weights of losses that are learned with them: Kendall et al., "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
Semantics", CVPR 2018."""
import torch
from torch import Tensor, nn


class UncertaintyWeighted(nn.Module):
    """½ Σ_i (e^(−w_i) L_i + w_i) over `terms` losses, with learned log-variances w_i that start at 0.

    The form is that of DCAL's loss from memory; with w = 0 it is half the plain sum. ValueError where the number of losses is another.
    """

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.terms = terms
        self.log_variance = nn.Parameter(torch.zeros(terms))

    def forward(self, losses: Tensor) -> Tensor:
        """losses: [terms] → the loss, a number."""
        if losses.shape != (self.terms,):
            raise ValueError(f"UncertaintyWeighted weighs {self.terms} losses [{self.terms}]; got {list(losses.shape)}")
        return 0.5 * ((-self.log_variance).exp() * losses + self.log_variance).sum()
