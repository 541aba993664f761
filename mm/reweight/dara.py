"""Dynamic Attention Reallocation (DARA): Chen et al., "True Multimodal In-Context Learning Needs Attention to the Visual Context", COLM 2025. Written
from memory of the paper and its project page; no runnable original was found.

Models copy the text of demonstrations and ignore their images. DARA learns, for each head and each image of the context, one factor on the scores of
that image's tokens: some hundred numbers, trained on the few demonstrations at hand while the model stays frozen.
"""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mm.reweight.base import LogitScale
from mm.tokens import TokenMap


class DARA(nn.Module, LogitScale):
    """A learned factor on the scores of each image, for each head of a few layers.

    Args:
        images: factors for the first `images` images of a document; a prompt with more is refused.
        layers: the layers that it acts in; the published one is the first.
        heads: query heads of the model; None where `bind` tells.

    factor: [layers, heads, images], 1 at first, which is the plain model. It must not become a part of the weights: it depends on where images are.
    """

    idle_group = 0
    shares_rows = True
    undecayed = ("factor",)  # weight decay would draw it to 0, where no image is told from another
    factor: nn.Parameter | None

    def __init__(self, images: int = 8, layers: Sequence[int] = (0,), heads: int | None = None) -> None:
        super().__init__()
        if images < 1 or not layers:
            raise ValueError(f"DARA: it needs at least one image and one layer; got images={images}, layers={tuple(layers)}")
        self.images = images
        self.layers = layers
        self.heads = heads
        self.register_parameter("factor", None if heads is None else self._fresh(heads))

    def _fresh(self, heads: int) -> nn.Parameter:
        return nn.Parameter(torch.ones(len(self.layers), heads, self.images))

    @property
    def group_count(self) -> int:
        return self.images + 1

    @property
    def is_neutral(self) -> bool:
        learns = torch.is_grad_enabled() and self.factor is not None and self.factor.requires_grad
        return not learns and (self.factor is None or bool((self.factor == 1).all()))

    def bind(self, layers: int, heads: int) -> None:
        if wrong := [layer for layer in self.layers if not 0 <= layer < layers]:
            raise ValueError(f"DARA: layer {wrong[0]} does not exist; the model has layers 0 to {layers - 1}: set `layers`")
        if self.heads not in (None, heads):
            raise ValueError(f"DARA: it was made for {self.heads} heads, and the model has {heads}; leave `heads` out")
        if self.factor is None:
            self.heads = heads
            self.factor = self._fresh(heads)

    def applies(self, layer: int) -> bool:
        return layer in self.layers

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """0 on text, 1 + index of the image on its tokens. ValueError for more images than there are factors."""
        groups = torch.where(tokens.is_vision, tokens.media + 1, 0)
        if bool((groups > self.images).any()):
            raise ValueError(f"DARA has factors for {self.images} images, and a prompt has {int(groups.max())}; make it with that many")
        return groups

    def scales(self, layer: int) -> Tensor:
        if self.factor is None:
            raise ValueError("DARA does not know how many heads the model has; pass `heads`, or call bind(layers, heads)")
        factor = self.factor[list(self.layers).index(layer)]
        return torch.cat([torch.ones_like(factor[:, :1]), factor], dim=1)

    def __repr__(self) -> str:
        return f"DARA(images={self.images})"
