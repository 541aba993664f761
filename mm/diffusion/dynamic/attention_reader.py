"""Where a denoiser's words and pixels look, with gradients, from a forward that ends where nothing more is asked for."""
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mm.attention.reference import scores
from mm.diffusion.branches import Branches
from mm.diffusion.control import control
from mm.diffusion.guidance import Model
from mm.diffusion.observer import View
from mm.diffusion.recorder import Maps
from mm.diffusion.site import Site
from mm.diffusion.text import Text


class AttentionReader:
    """Any denoiser of diffusers that `mm.control` knows.

    Args:
        network: the module that denoises, which `model` calls.
        model: latents, timestep and prompts → prediction.
        words_at, pixels_at: which attentions count, by how many latent rows one of their rows stands for: those to words at a quarter and those among
            pixels at half of the latents' sides, as published (16 x 16 and 32 x 32 for 64 x 64). SDXL has them at 2 and 4, for 1024 x 1024 pixels
            take 4 and 4; transformers with patches of 2 have them at 2 and 2.

    The maps exist only at these sizes. The first forward runs whole; later ones end after the last attention of the size. What is left out has no
    part in the maps, so they are the same to the bit. ValueError where no attention has the size.
    """

    def __init__(self, network: nn.Module, model: Model, words_at: float = 4, pixels_at: float = 2) -> None:
        self.network, self.model = network, model
        self._words: Maps = _Words(lambda site: site.kind != "self" and site.reduction == words_at)
        self._pixels: Maps = _Pixels(lambda site: site.kind != "cross" and site.reduction == pixels_at)

    def words(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        """[B, H, W, K]: attention of each pixel to each of K keys of the text; gradients reach latents and text."""
        return self._mean(self._words, latents, timestep, text)

    @torch.no_grad()
    def pixels(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        """[B, H, W, H · W]: attention of each pixel to each pixel."""
        return self._mean(self._pixels, latents, timestep, text)

    def _mean(self, maps: Maps, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        maps.maps, maps.sites = {}, {}
        with maps.truncated(), control(self.network, recorders=[maps], branches=Branches.unguided(1, len(latents))) as running:
            running.at(0, 1)
            self.model(latents, timestep, text.as_many_as(len(latents)))
            if not maps.maps:
                sites = running.sites.values()
                raise ValueError(f"{type(self.network).__name__} with latents of {list(latents.shape[-2:])} has no attention of the size asked for; "
                                 f"it has {_there(sites, 'self')} to words and {_there(sites, 'cross')} among pixels: choose words_at and pixels_at "
                                 "among them")
        grid = next((site.height, site.width) for site in maps.sites.values())
        found = torch.stack(list(maps.maps.values())).mean(0).unflatten(1, grid)
        maps.maps = {}
        return found


class _Words(Maps):
    """[B, P, K], mean over heads."""

    def read(self, view: View) -> Tensor:
        return _weights(view)[..., view.axes.text].mean(1)


class _Pixels(Maps):
    """[B, P, P], mean over heads."""

    def read(self, view: View) -> Tensor:
        return _weights(view)[..., view.axes.picture].mean(1)


def _weights(view: View) -> Tensor:
    """[B, H, P, keys], of the picture's queries."""
    call, queries = view.call, view.axes.queries
    logits = scores(call.q[:, :, queries], call.k, call.scale)
    if call.mask is None:
        return logits.softmax(-1)
    mask = call.mask[(None,) * (4 - call.mask.dim())]
    mask = mask if mask.shape[2] == 1 else mask[:, :, queries]
    return (logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask).softmax(-1)


def _there(sites: Iterable[Site], without: str) -> str:
    return ", ".join(f"{each:g}" for each in sorted({site.reduction for site in sites if site.kind != without}))
