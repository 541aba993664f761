"""Delta denoising score: Hertz et al., "Delta Denoising Score", ICCV 2023."""
from collections.abc import Callable

from torch import Tensor

from mm.diffusion.distillation.base import Distillation
from mm.diffusion.text import Text


class DDS(Distillation):
    """Noise predicted for the target less noise predicted for the source picture and its text, under the same noise at the same level: what SDS would
    do to the source, where nothing is to be done, is taken off.

    Args:
        source: latents of the source pictures [B, C, h, w]. text, negative: what they show, and its negative prompt. Others as in `Distillation`.
    """

    def __init__(self, source: Tensor, text: Text, negative: Text, guidance: float = 7.5, alpha_power: float = 0.0, sigma_power: float = 0.0,
                 timesteps: tuple[int, int] = (50, 949)) -> None:
        super().__init__(guidance, alpha_power, sigma_power, timesteps)
        self.source, self.text, self.negative = source, text, negative

    def direction(self, predicted: Tensor, noise: Tensor, noisy: Callable[[Tensor, Text, Text], Tensor]) -> Tensor:
        if self.source.shape != predicted.shape:
            raise ValueError(f"DDS: source latents {list(self.source.shape)} and target latents {list(predicted.shape)}; expected one shape.")
        return predicted - noisy(self.source.to(predicted), self.text, self.negative)
