"""VCD: Leng et al., "Mitigating Object Hallucinations in Large Vision-Language Models through Visual Contrastive Decoding", CVPR 2024.

The branch sees the picture under noise, so what it says comes from the prior; that is subtracted. Defined for sampling; under greedy decoding it is
the same rule on the likeliest token.
"""
import torch
from torch import Tensor

from mm.decoding.contrast import Contrast, plausible
from mm.models.prompt import Prompt

STEPS = 1000  # of the diffusion whose schedule the noise follows


class VCD(Contrast):
    """logits = (1 + alpha) l - alpha l', cut where l < max l + log beta.

    Args:
        alpha: strength. beta: plausibility; the released POPE script has 0.2, its defaults 0.1.
        noise_step: of the schedule, 0 to 999; at the published 500 the picture keeps 74 % of its variance. seed: of the noise.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 0.1, noise_step: int = 500, seed: int = 0) -> None:
        if not 0 <= noise_step < STEPS:
            raise ValueError(f"noise_step is {noise_step}; the schedule has steps 0 to {STEPS - 1}")
        self.alpha, self.beta, self.noise_step, self.seed = alpha, beta, noise_step, seed

    def branch(self, prompt: Prompt) -> Prompt:
        return prompt.noised(self.noised)

    def noised(self, pixels: Tensor) -> Tensor:
        """Normalised pixels of one picture under the noise of the schedule; pictures of one shape get the same noise, whoever is beside them."""
        noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(self.seed)).to(pixels)
        return diffused(pixels, noise, self.noise_step)

    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        return plausible((1 + self.alpha) * own - self.alpha * other, own, self.beta)


def diffused(pixels: Tensor, noise: Tensor, step: int) -> Tensor:
    """sqrt(a) x + sqrt(1 - a) noise, with a the product of 1 - b over steps 0 to `step`, b from 1e-5 to 5e-3 along a sigmoid."""
    rates = torch.sigmoid(torch.linspace(-6, 6, STEPS)) * (0.5e-2 - 1e-5) + 1e-5
    kept = (1 - rates).cumprod(0)[step].to(pixels.device)
    return kept.sqrt() * pixels + (1 - kept).sqrt() * noise
