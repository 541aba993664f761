"""A reference picture as several encoders see it, whole and in four interleaved parts: Mao et al., "RealCustom++", 2024, in the released form."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mm.vision.base import Size, VisionEncoder


class Views(NamedTuple):
    """Features of B pictures. whole: [B, n, C]. parts: [B, n · parts, C], those of one place in all parts side by side."""

    whole: Tensor
    parts: Tensor


class SubjectEncoder(nn.Module):
    """Frozen encoders side by side, joined along the channels: SigLIP for meaning and DINOv2 for detail in the release.

    encoders: of equal grids. side: of the whole view in px, 384 in the release. finer: the parts are finer² strided sub-samplings of the picture at
    finer · side px, each pixel in one of them; not quadrants.
    """

    def __init__(self, encoders: Sequence[VisionEncoder], side: int = 384, finer: int = 2) -> None:
        super().__init__()
        grids = {encoder.grid for encoder in encoders}
        if len(grids) != 1:
            raise ValueError(f"encoders have grids {sorted(grids)}, expected one and the same, for their features are joined place by place; choose "
                             "image sizes in the proportion of their patches")
        self.encoders = nn.ModuleList(encoders).eval().requires_grad_(False)
        self.width = sum(encoder.width for encoder in encoders)  # channels C
        self.places = encoders[0].grid[0] * encoders[0].grid[1]  # n of a view
        self.side, self.finer = side, finer

    @classmethod
    def released(cls, pretrained: bool = True) -> "SubjectEncoder":
        """SigLIP-SO400M/14 and DINOv2-L/14 with registers, each without its last block: 1152 + 1024 channels at 27 × 27 places. At 378 px, where the
        release crops 384."""
        from mm.vision.timm import Timm
        return cls([Timm(name, image_size=378, pretrained=pretrained, layer=-2)
                    for name in ("vit_so400m_patch14_siglip_384", "vit_large_patch14_reg4_dinov2.lvd142m")])

    def train(self, mode: bool = True) -> "SubjectEncoder":
        """Encoders stay as they are used: frozen, without dropout."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Views:
        """uint8 [B, 3, H, W], any size → features. Both sides are stretched to the square, as in the release."""
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"reference pictures are uint8 [B, 3, H, W]; got {pictures.dtype} {list(pictures.shape)}")
        large = resized(pictures, (self.finer * self.side,) * 2)
        parts = self._seen(interleaved(large, self.finer)).unflatten(0, (len(pictures), -1))  # [B, parts, n, C]
        return Views(self._seen(resized(large, (self.side, self.side))), parts.transpose(1, 2).flatten(1, 2))

    def blank(self, count: int) -> Views:
        """No picture: features that are 0, in training where the picture is dropped and in sampling where guidance leads away from."""
        device = next(self.buffers()).device
        return Views(torch.zeros(count, self.places, self.width, device=device),
                     torch.zeros(count, self.places * self.finer**2, self.width, device=device))

    def _seen(self, pictures: Tensor) -> Tensor:
        return torch.cat([encoder(resized(pictures, encoder.image_size)) for encoder in self.encoders], -1)  # type: ignore[arg-type]


def interleaved(pictures: Tensor, finer: int) -> Tensor:
    """[B, C, H, W] → [B · finer², C, H / finer, W / finer]: sub-image (i, j) has the pixels of rows i, i + finer, … and columns j, j + finer, …"""
    parts = [pictures[:, :, i::finer, j::finer] for i in range(finer) for j in range(finer)]
    return torch.stack(parts, 1).flatten(0, 1)


def resized(pictures: Tensor, size: Size) -> Tensor:
    """uint8 [B, 3, H, W] → uint8 [B, 3, *size], bilinear."""
    if tuple(pictures.shape[2:]) == size:
        return pictures
    return interpolate(pictures.float(), size, mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8)
