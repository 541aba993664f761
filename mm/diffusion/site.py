"""Where: one attention of a denoiser."""
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cross", "self", "joint"]
Place = Literal["down", "mid", "up", "block"]


@dataclass(frozen=True)
class Site:
    """name: of the attention module in the denoiser. kind: text keys only, picture keys only, or both in one softmax. place: half of a U-Net;
    transformers are all "block". index: in order of execution among attentions of this kind. height, width: of the picture on the query axis.
    latent: (height, width) of the latents, so that `reduction` compares across models. layer: like index, among those of this place only.
    """

    name: str
    kind: Kind
    place: Place
    index: int
    height: int
    width: int
    latent: tuple[int, int]
    layer: int = 0

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def reduction(self) -> float:
        """Latent rows to a row of this attention: 4 is where SD-1.x has 16 x 16 for 64 x 64."""
        return self.latent[0] / self.height
