"""Reverse raster order, the ablation of Xing et al., "Mitigating Object Hallucination via Concentric Causal Attention" (CCA), NeurIPS 2024.

If the end of a raster is favoured for being near the text, favour its beginning instead.
"""
from torch import Tensor

from mm.positions.by_image import ByImage, Images
from mm.tokens import TokenMap


class ReverseRaster(ByImage):
    """The tokens of an image count backwards: its last one comes first, its first one is next to the text. Needs no grid.

    With `mm.masks.PositionCausal` an image token reads those behind it in the sequence. Text counts on as if nothing were reversed, decoded text too
    (the release goes on from CCA's ring count there). Each frame of a clip is reversed by itself, so that time goes on forwards (our choice).
    """

    def spread(self, tokens: TokenMap, images: Images) -> tuple[Tensor, Tensor]:
        """Tokens of the same image behind each one, and the image's size; [B, N]."""
        return images.size - 1 - images.place, images.size
