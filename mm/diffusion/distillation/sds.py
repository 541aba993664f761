"""Score distillation sampling: Poole et al., "DreamFusion: Text-to-3D using 2D Diffusion", ICLR 2023."""
from collections.abc import Callable

from torch import Tensor

from mm.diffusion.distillation.base import Distillation
from mm.diffusion.text import Text


class SDS(Distillation):
    """Predicted noise less added noise: towards what the model takes for a picture of the text; guidance makes that smooth and saturated."""

    def direction(self, predicted: Tensor, noise: Tensor, noisy: Callable[[Tensor, Text, Text], Tensor]) -> Tensor:
        return predicted - noise
