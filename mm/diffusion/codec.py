"""An autoencoder in closed form: principal components of picture patches, whitened; Hotelling, "Analysis of a complex of statistical variables into
principal components", 1933. It stands where a latent diffusion model has its VAE."""
from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d


@dataclass
class Code:
    """latent_dist: what a VAE would return a distribution in."""

    latent_dist: "Certain"


@dataclass
class Picture:
    """sample: [B, 3, H, W]."""

    sample: Tensor


class Certain:
    """A distribution that is sure of its value: [B, C, h, w]."""

    def __init__(self, value: Tensor) -> None:
        self.mean = value

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean

    def mode(self) -> Tensor:
        return self.mean


class PatchCodec(ModelMixin, ConfigMixin):
    """Patches of `patch` × `patch` pixels ↔ `latent_channels` numbers of variance one, with the surface of `AutoencoderKL` that pipelines use.

    patch: a power of 2, for pipelines read the ratio of sides from the number of `block_out_channels`. scaling_factor: 1, the latents are white.
    A new codec knows nothing until `fit`; `decode(encode(x))` is the orthogonal projection onto the principal components, so a second round trip
    changes nothing. Pictures are [B, 3, H, W] in [−1, 1], H and W multiples of `patch`; ValueError otherwise.
    """

    config_name = "config.json"  # type: ignore[assignment]

    @register_to_config
    def __init__(self, patch: int = 8, latent_channels: int = 24, scaling_factor: float = 1.0, block_out_channels: tuple[int, ...] | None = None,
                 force_upcast: bool = False, shift_factor: float | None = None) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        if patch != 2**halvings or not 0 < latent_channels <= 3 * patch * patch:
            raise ValueError(f"PatchCodec: patch {patch} and latent_channels {latent_channels}; expected a power of 2, and 1 to 3 · patch² channels.")
        self.register_to_config(block_out_channels=[latent_channels] * (halvings + 1))
        self.mean = nn.Parameter(torch.zeros(3, patch, patch), requires_grad=False)
        self.components = nn.Parameter(torch.zeros(latent_channels, 3, patch, patch), requires_grad=False)  # orthonormal
        self.deviation = nn.Parameter(torch.ones(latent_channels), requires_grad=False)

    @torch.no_grad()
    def fit(self, pictures: Tensor) -> "PatchCodec":
        """Learn mean, components and deviations from the patches of [B, 3, H, W]: in closed form, in float64, the largest variance first."""
        channels, patch = self.config["latent_channels"], self.config["patch"]
        self._check(pictures)
        b, c, h, w = pictures.shape
        rows = pictures.reshape(b, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 1, 3, 5).reshape(-1, c * patch * patch)
        if len(rows) <= channels:
            raise ValueError(f"PatchCodec: {len(rows)} patches cannot determine {channels} components; give more pictures.")
        rows = rows.double()
        mean = rows.mean(0)
        variances, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        vectors = vectors.flip(1)[:, :channels].T
        vectors = vectors * torch.where(vectors.gather(1, vectors.abs().argmax(1, keepdim=True)) < 0, -1.0, 1.0)  # the sign is free: fix it
        self.mean.copy_(mean.view_as(self.mean))
        self.components.copy_(vectors.reshape(self.components.shape))
        self.deviation.copy_(variances.flip(0)[:channels].clamp_min(1e-12).sqrt())
        return self

    def encode(self, x: Tensor, return_dict: bool = True) -> Code | tuple[Certain]:
        """[B, 3, H, W] → a distribution over [B, latent_channels, H / patch, W / patch] without spread."""
        self._check(x)
        filters = self.components / self.deviation[:, None, None, None]
        latents = conv2d(x, filters, -(filters * self.mean).sum((1, 2, 3)), stride=self.config["patch"])
        return Code(Certain(latents)) if return_dict else (Certain(latents),)

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> Picture | tuple[Tensor]:
        """[B, latent_channels, h, w] → [B, 3, h · patch, w · patch], not clipped."""
        filters = self.components * self.deviation[:, None, None, None]
        picture = conv_transpose2d(z, filters, stride=self.config["patch"]) + self.mean.repeat(1, *z.shape[-2:])
        return Picture(picture) if return_dict else (picture,)

    def forward(self, sample: Tensor) -> Tensor:
        """The round trip."""
        return self.decode(self.encode(sample).latent_dist.mode()).sample  # type: ignore[union-attr]

    def _check(self, x: Tensor) -> None:
        patch = self.config["patch"]
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % patch or x.shape[3] % patch:
            raise ValueError(f"PatchCodec: found a tensor {list(x.shape)}, expected pictures [B, 3, H, W] with sides that are multiples of {patch}.")
