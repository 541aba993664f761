"""A real word drawn after a picture: Huang et al., "RealCustom", CVPR 2024, with the released sampling loop of Mao et al., "RealCustom++", 2024."""
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from mm.diffusion.custom.customiser import Customiser
from mm.diffusion.custom.guidance_mask import AdaptiveMask
from mm.diffusion.custom.scoring import Scorer
from mm.diffusion.custom.stream import Shown
from mm.diffusion.custom.word_maps import WordMaps
from mm.diffusion.denoiser import Denoiser
from mm.diffusion.text import beside
from mm.diffusion.tokenise import tokenized
from mm.diffusion.words import Word, word_keys

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Customised:
    """pictures: [B, 3, H, W] float32, about [-1, 1] and not clipped. latents: [B, C, h, w]. masks: [T, S, B, h', w'], where each of S subjects could
    act at each step."""

    pictures: Tensor
    latents: Tensor
    masks: Tensor


class RealCustom:
    """Draws words of a prompt after reference pictures, each where the picture itself puts its word.

    Each step: a pass without pictures, whose attention on each word becomes its mask; then one batch of [negative | positive] with picture tokens
    under these masks, the negative ones of no picture (features that are 0; the release encodes a black one); negative + guidance · (positive -
    negative). The negative rows are masked too, so they cannot share a batch with the first pass.

    denoiser: `mm.diffusion.denoisers.denoiser(pipe)`, sampled with the pipeline's own scheduler. mask_reused_step: from this step on the last masks
    are kept and the first pass is saved, 12 of 25 in the release's API; None for never. reduction: latent rows to a row of the mask. scorer: chooses
    among picture tokens, a reconstruction and off by default. Defaults are otherwise those of the release's API.
    """

    def __init__(self, denoiser: Denoiser, customiser: Customiser, mask: AdaptiveMask | None = None, guidance: float = 3.5,
                 mask_reused_step: int | None = 12, reduction: int = 2, scorer: Scorer | None = None) -> None:
        if mask_reused_step is not None and mask_reused_step < 1:
            raise ValueError(f"RealCustom: mask_reused_step {mask_reused_step}, but at step 0 there is no mask to use again; expected 1 or more, or "
                             "None")
        self.denoiser, self.customiser, self.mask, self.guidance = denoiser, customiser, mask or AdaptiveMask(), guidance
        self.mask_reused_step, self.reduction, self.scorer = mask_reused_step, reduction, scorer
        if self.mask.spread is not None:
            raise ValueError("RealCustom: the mask wants self-attention maps (spread), which sampling does not record; use a mask without spread")

    @torch.no_grad()
    def __call__(self, prompt: str, words: Sequence[Word], pictures: Sequence[Image | Tensor], steps: int = 25, images: int = 1, negative: str = "",
                 size: Size | None = None, generator: torch.Generator | None = None) -> Customised:
        """words: each a word of the prompt or several in a row, found by its tokens. pictures: of each word, PIL's or uint8 [3, H, W]. images: how
        many to draw. size: (height, width) in px, multiples of the denoiser's `unit`; the model's own by default. ValueError for a word that the
        prompt does not have, for two words with tokens in common, and for more or fewer pictures than words."""
        keys = self._keys(prompt, words, pictures)
        latents = self._noise(images, size, generator)
        given, without = (text.as_many_as(images) for text in self.denoiser.text([prompt], negative))
        tokens = [self.customiser.tokens(pixels(picture).to(latents.device)).expand(images, -1, -1) for picture in pictures]
        blank = self.customiser.blank(images)
        scheduler, maps = copy.deepcopy(self.denoiser.pipe.scheduler), WordMaps(keys)
        scheduler.set_timesteps(steps, device=latents.device)
        latents = latents * getattr(scheduler, "init_noise_sigma", 1.0)  # flows have neither this nor a scale of their input
        masks: list[list[Tensor]] = []
        with self.customiser.stream.installed(self.denoiser.network, maps) as stream:
            for step, timestep in enumerate(scheduler.timesteps):
                z = scheduler.scale_model_input(latents, timestep) if hasattr(scheduler, "scale_model_input") else latents
                if self.mask_reused_step is None or step < self.mask_reused_step:
                    masks.append(self._masks(stream.show, maps, z, timestep, given))
                else:
                    masks.append(masks[-1])
                scored = [self._scored(each, given.tokens, z, timestep) for each in tokens]
                if self.guidance == 1:
                    stream.show(*(Shown(own, mask) for own, mask in zip(scored, masks[-1], strict=True)))
                    prediction = self.denoiser(z, timestep, given)
                else:
                    nothing = self._scored(blank, without.tokens, z, timestep)
                    stream.show(*(Shown(torch.cat([nothing, own]), mask.repeat(2, 1, 1)) for own, mask in zip(scored, masks[-1], strict=True)))
                    low, high = self.denoiser(torch.cat([z, z]), timestep, beside(without, given)).chunk(2)
                    prediction = low + self.guidance * (high - low)
                latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        return Customised(self.denoiser.decode(latents), latents, torch.stack([torch.stack(step) for step in masks]))

    def _keys(self, prompt: str, words: Sequence[Word], pictures: Sequence[Any]) -> list[tuple[int, ...]]:
        if not words or len(words) != len(pictures):
            raise ValueError(f"RealCustom: {len(words)} words {list(words)} and {len(pictures)} pictures; expected one picture for each word, and at "
                             "least one word")
        keys = [word_keys(tokenized(self.denoiser.pipe, [prompt])[0], word) for word in words]
        for place, mine in enumerate(keys):
            for other in range(place):
                if set(mine) & set(keys[other]):
                    raise ValueError(f"RealCustom: {words[other]!r} and {words[place]!r} have tokens of {prompt!r} in common; give each subject "
                                     "words of its own, or say by number which occurrence is meant")
        return keys

    def _noise(self, images: int, size: Size | None, generator: torch.Generator | None) -> Tensor:
        pipe, config = self.denoiser.pipe, self.denoiser.network.config
        if size is None:
            sides = config.sample_size
            latent = (sides, sides) if isinstance(sides, int) else (int(sides[0]), int(sides[1]))
        elif any(side <= 0 or side % self.denoiser.unit for side in size):
            raise ValueError(f"RealCustom: size {size}, expected (height, width) in multiples of {self.denoiser.unit} px")
        else:
            latent = (size[0] // pipe.vae_scale_factor, size[1] // pipe.vae_scale_factor)
        return torch.randn(images, config.in_channels, *latent, generator=generator).to(self.denoiser.device)

    def _masks(self, show: Any, maps: WordMaps, z: Tensor, timestep: Tensor, text: Any) -> list[Tensor]:
        """[B, h', w'] of each subject, from a pass without pictures."""
        show()
        maps.clear()
        maps.rest = False
        self.denoiser(z, timestep, text)
        maps.rest = True
        size = (max(1, z.shape[-2] // self.reduction), max(1, z.shape[-1] // self.reduction))
        return [self.mask(maps.of(subject), size) for subject in range(len(maps.words))]

    def _scored(self, tokens: Tensor, text: Tensor, z: Tensor, timestep: Tensor) -> Tensor:
        if self.scorer is None:
            return tokens
        signal = self.denoiser.levels().at(timestep.repeat(len(z)), z).alpha.flatten()
        return self.scorer(tokens, text.to(tokens.dtype), z.to(tokens.dtype), signal.to(tokens.dtype))


def pixels(picture: Image | Tensor) -> Tensor:
    """uint8 [1, 3, H, W]."""
    if isinstance(picture, Tensor):
        if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
            raise ValueError(f"a reference picture is PIL's or uint8 [3, H, W]; got {picture.dtype} {list(picture.shape)}")
        return picture[None]
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
