"""The cross-attentions of a denoiser as they are computed, for those who hear them and add to them."""
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mm.attention import attend
from mm.diffusion.layout import Frame, layout_of
from mm.diffusion.watched import Call, watched

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class CrossAttention:
    """name, module: of the attention in the denoiser. call: as the processor asks for it, after norms. size: rows and columns of the Q pixels."""

    name: str
    module: nn.Module
    call: Call
    size: Size

    @property
    def query(self) -> Tensor:
        """[B, H, P, D]."""
        return self.call.q

    def over(self, values: Tensor) -> Tensor:
        """[B, H, P, n]: the text's attention over other values [B, Hk, K, n]."""
        call = self.call
        if call.mask is None or call.mask.dtype == torch.bool:
            return attend(call.q, call.k, values, mask=call.mask, scale=call.scale).out
        return attend(call.q, call.k, values, log_bias=call.mask, scale=call.scale).out


Listener = Callable[[CrossAttention, Tensor], Tensor]
"""(attention, its output [B, H, P, D] as listeners before have left it) → what stands in its place."""


def cross_attentions(denoiser: nn.Module) -> dict[str, Any]:
    """Every attention of a diffusers denoiser whose keys are text alone, by name. ValueError where there is none, and where keys are mixed."""
    found = {name: module for name, module in denoiser.named_modules() if getattr(module, "is_cross_attention", False)}
    if not found:
        raise ValueError(f"{type(denoiser).__name__} has no cross-attention (text and picture share one softmax there, or it reads no text); "
                         "a decoupled visual stream needs one: Stable Diffusion 1, 2 and XL, PixArt, Sana")
    mixed = [name for name, module in found.items() if getattr(module, "added_kv_proj_dim", None) is not None]
    if mixed:
        raise ValueError(f"{type(denoiser).__name__}: {mixed[0]} has pixels among its text keys (added_kv_proj_dim), so its output is not the "
                         "text's alone; use a denoiser with plain cross-attention")
    return found


@contextmanager
def listening(denoiser: nn.Module, *listeners: Listener) -> Iterator[None]:
    """The listeners hear each cross-attention's first kernel call, one after another; processors, norms, residuals and adapters stay as they are.

    Later calls in one attention are an image adapter's own. RuntimeError for a processor that does not use the kernel, ValueError for a denoiser that
    is under control already. At the end everything is as before.
    """
    listened = _Listened(denoiser, cross_attentions(denoiser), listeners)
    handle = denoiser.register_forward_pre_hook(listened.begin, with_kwargs=True)
    try:
        with watched(denoiser, listened):
            yield
    finally:
        handle.remove()


class _Listened:
    """A watcher that passes cross-attentions on. frame: of the denoiser's call that is under way."""

    def __init__(self, denoiser: nn.Module, attentions: dict[str, Any], listeners: Sequence[Listener]) -> None:
        self.attentions, self.listeners, self.layout = attentions, listeners, layout_of(denoiser)
        self.signature = inspect.signature(denoiser.forward)
        self.frame: Frame

    def begin(self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.frame = self.layout.frame(denoiser, self.signature.bind_partial(*args, **kwargs).arguments)

    def attention(self, name: str, call: Call) -> Tensor:
        out = call.stock()
        if name not in self.attentions:
            return out
        pixels = call.q.shape[2]
        size = self.frame.grid_of(pixels)
        if size is None:
            height, width = self.frame.latent
            raise ValueError(f"{name}: {pixels} queries for latents of {height} × {width}, expected a grid of halved sides or of patches")
        heard = CrossAttention(name, self.attentions[name], call, size)
        for listener in self.listeners:
            out = listener(heard, out)
        return out

    def left(self, name: str, seen: bool, text: bool) -> None:
        if name in self.attentions and not seen:
            processor = type(self.attentions[name].processor).__name__.removeprefix("Watched")
            raise RuntimeError(f"{name}: {processor} does not call scaled_dot_product_attention, so nothing can be added to it; set the default "
                               "processors back (disable attention slicing or xformers)")
