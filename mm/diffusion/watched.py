"""Attention processors of diffusers, left as they are but for the attention itself.

Norms, rotary positions, group norm, LoRA, residuals, rescaling, fused projections and IP-Adapter's own attentions stay the stock code, because the
stock processor runs; only its first call of `scaled_dot_product_attention`, which is the one over text, pixels or both, is taken over.
"""
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, eq=False)
class Call:
    """One attention as the processor asks for it. q: [B, H, Q, D]; k, v: [B, Hk, K, D]; mask: as the kernel takes it, bool or added to the scores;
    scale: of the dot products, None for 1 / sqrt(D). stock: the call itself, untouched. text: keys that the processor was given besides its own
    hidden states, None where it got none.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scale: float | None
    stock: Callable[[], Tensor]
    text: int | None


class Watcher(Protocol):
    """Who takes an attention over."""

    def attention(self, name: str, call: Call) -> Tensor:
        """Output [B, H, Q, D] of the attention of the module of this name."""

    def left(self, name: str, seen: bool, text: bool) -> None:
        """Called after each processor. seen: whether its attention went through `attention`. text: whether it was given text."""


class _FirstAttention(TorchFunctionMode):
    """Hands the first fused attention to `take` and lets all else pass."""

    def __init__(self, take: Callable[[Call], Tensor], text: int | None) -> None:
        super().__init__()
        self.take, self.text, self.seen = take, text, False

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if self.seen or func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        self.seen = True
        return self.take(_call(functools.partial(func, *args, **kwargs), self.text, *args, **kwargs))


def _call(stock: Callable[[], Tensor], text: int | None, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
          dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Call:
    """The arguments of `scaled_dot_product_attention` by name. ValueError for those that no denoiser uses."""
    if is_causal or dropout_p:
        raise ValueError(f"attention under control is neither causal nor dropped out; got is_causal={is_causal}, dropout_p={dropout_p}")
    return Call(query, key, value, attn_mask, scale, stock, text)


class Watched:
    """A processor under watch. For all who ask, its attributes, its class and its signature are those of the processor itself."""

    def __init__(self, stock: Any, watcher: Watcher, name: str) -> None:
        object.__setattr__(self, "_stock", stock)
        object.__setattr__(self, "_watcher", watcher)
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_stock"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._stock, name, value)


@functools.cache
def _watched_class(stock: type[Any]) -> type[Watched]:
    """`Watched` with the signature of the processors of this class: diffusers passes on the arguments that the signature names."""

    @functools.wraps(stock.__call__)
    # the rest of a compiled denoiser stays compiled; gates change each step and must not be compiled in
    @torch.compiler.disable(reason="attention under mm.control changes from step to step; compile the denoiser without fullgraph=True")
    def __call__(self: Watched, attn: nn.Module, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *args: Any,
                 **kwargs: Any) -> Any:
        text = encoder_hidden_states[0] if isinstance(encoder_hidden_states, tuple) else encoder_hidden_states  # IP-Adapter's come in a tuple
        watcher, name = self._watcher, self._name
        mode = _FirstAttention(functools.partial(watcher.attention, name), None if text is None else text.shape[1])
        with mode:
            out = self._stock(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        watcher.left(name, mode.seen, text is not None)
        return out

    return type(f"Watched{stock.__name__}", (Watched,), {"__call__": __call__, "__class__": property(lambda self: stock)})


def stock_of(processor: Any) -> Any:
    """The processor itself, watched or not."""
    return object.__getattribute__(processor, "_stock") if is_watched(processor) else processor


def is_watched(processor: Any) -> bool:
    return issubclass(type(processor), Watched)


@contextmanager
def watched(denoiser: nn.Module, watcher: Watcher) -> Iterator[Callable[[], None]]:
    """Every attention processor of the denoiser under watch; afterwards the same objects stand where they stood.

    A processor with weights (IP-Adapter) stays registered in its module, so that parameters and the keys of the state dict are unchanged meanwhile.
    What it yields puts those under watch that were set meanwhile, as pipelines of perturbed-attention guidance do in their own call.
    """
    modules = {name: module for name, module in denoiser.named_modules() if hasattr(module, "set_processor") and hasattr(module, "processor")}
    if not modules:
        raise ValueError(f"{type(denoiser).__name__} has no attention with a processor; give a denoiser of diffusers, or a pipeline")
    if any(is_watched(module.processor) for module in modules.values()):
        raise ValueError(f"this {type(denoiser).__name__} is under control already; leave that first, or give all edits to one `mm.control`")
    before = {name: module.__dict__.get("processor") for name, module in modules.items()}

    def renew() -> None:
        for name, module in modules.items():
            if not is_watched(module.processor):
                kind: Any = type(module.processor)
                module.__dict__["processor"] = _watched_class(kind)(module.processor, watcher, name)

    try:
        renew()
        yield renew
    finally:
        for name, module in modules.items():
            if before[name] is not None:
                module.__dict__["processor"] = before[name]
            else:
                module.__dict__.pop("processor", None)
