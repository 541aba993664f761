"""Pixels as features: what Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, embed, before it is embedded."""
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from mm.vision.base import Size, VisionEncoder, square
from mm.vision.resize import Resize


class Pixels(VisionEncoder):
    """Each patch × patch square as 3 · patch² numbers about [−2, 2]. Nothing is learned and nothing fetched, so that what reads it can be trained
    alone; for small worlds. ValueError for sides that are no multiples of the patch."""

    def __init__(self, image_size: int | Size = 64, patch: int = 8, resize: Resize | None = None) -> None:
        super().__init__(resize)
        self.patch = patch
        height, width = size = square(image_size)
        if patch < 1 or height % patch or width % patch:
            raise ValueError(f"Pixels: image_size {image_size} and patch {patch}; expected sides that are multiples of the patch")
        self.geometry(3 * patch * patch, size, (height // patch, width // patch), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

    def features(self, x: Tensor) -> Tensor:
        return pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
