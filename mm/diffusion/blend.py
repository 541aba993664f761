"""Two pictures in one: the source's latents outside of a mask."""
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor


def blend_mask(heat: Tensor, size: tuple[int, int], threshold: float = 0.3, reach: int = 1) -> Tensor:
    """Where words are, in each prompt's picture or in the source's: Hertz et al., "Prompt-to-Prompt …", ICLR 2023.

    heat: [prompts, images, h, w] attention to the words, on any scale, the source first. reach: how far the neighbourhood goes of which a pixel has
    the maximum, 0 for none. → bool [prompts, images, *size], more than `threshold` of the picture's maximum.
    """
    maps = heat.float().flatten(0, 1)[:, None]
    maps = F.interpolate(F.max_pool2d(maps, 2 * reach + 1, stride=1, padding=reach), size=size)
    peaks = maps.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)  # an empty map has an empty mask
    mask = (maps / peaks > threshold).view(*heat.shape[:2], *size)
    return mask | mask[:1]


def blended(latents: Tensor, mask: Tensor) -> Tensor:
    """latents: [prompts x images, C, h, w], or packed [prompts x images, h x w, C]; mask: bool [prompts, images or 1, h, w]. Each picture outside of
    its mask is the source's picture of the same number.
    """
    rows = latents.unflatten(0, (mask.shape[0], -1))
    inside = mask.unsqueeze(2) if latents.dim() == 4 else mask.flatten(-2).unsqueeze(-1)
    return torch.where(inside.to(latents.device), rows, rows[:1]).flatten(0, 1)


def latent_size(latents: Tensor, like: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of latents as `blended` takes them. like: height and width of something of the same shape, which tells for packed ones."""
    if latents.dim() == 4:
        return latents.shape[-2], latents.shape[-1]
    if latents.dim() == 3:
        height = round(sqrt(latents.shape[1] * like[0] / like[1]))
        if height and latents.shape[1] % height == 0:
            return height, latents.shape[1] // height
    raise ValueError(f"latents of shape {tuple(latents.shape)} cannot be blended by a mask of {like[0]} x {like[1]}; expected [B, C, h, w], or "
                     "packed [B, h x w, C] of the same shape")
