"""`mm.steer`: pull levers on a model for a while; it leaves no trace."""
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mm.attention import Plan, activated
from mm.language import seam
from mm.masks import Causal, Mask
from mm.positions import Positions
from mm.tokens import TokenMap

Model = TypeVar("Model", bound=nn.Module)


@runtime_checkable
class Levered(Protocol):
    """A model that holds its levers itself, as `mm.VLM` does."""

    mask: Mask
    positions: Positions


@contextmanager
def steer(model: Model, mask: Mask | None = None, positions: Positions | None = None, tokens: TokenMap | None = None) -> Iterator[Model]:
    """`model` reads under `mask` and `positions` within, in training and in `generate`; None leaves a lever as it is.

    model: a `mm.VLM`, or any causal LM of transformers. tokens: for the latter, the map of the padded batch that is read within; without it each row
    is one text, as its attention mask says. TypeError for another model; UnsupportedModelError where its attention cannot be replaced.
    """
    if isinstance(model, Levered):
        before = model.mask, model.positions
        model.mask, model.positions = mask or before[0], positions or before[1]
        try:
            yield model
        finally:
            model.mask, model.positions = before
    elif isinstance(model, PreTrainedModel) and model.config.get_text_config() is model.config:
        with steered_text(model, mask or Causal(), positions, tokens):
            yield model
    else:
        raise TypeError(f"cannot steer a {type(model).__name__}; give a mm.VLM or a causal language model of transformers")


@contextmanager
def steered_text(model: PreTrainedModel, mask: Mask, positions: Positions | None, tokens: TokenMap | None) -> Iterator[None]:
    """A plain causal LM. The active plan carries the mask; with gradients it travels as an argument, for layers that are recomputed."""

    def prepare(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = kwargs.get("input_ids", args[0] if args else None)
        read = ids if ids is not None else kwargs["inputs_embeds"]
        cache = kwargs.get("past_key_values")
        seen = int(cache.get_seq_length()) if cache is not None else 0
        here = tokens or map_of(kwargs.get("attention_mask"), read, seen)
        if positions is not None and here is not None:
            kwargs["position_ids"] = rows_of(positions, here, seen, read.shape[1], read.shape[0])
        if torch.is_grad_enabled() and here is not None and read.shape[:2] == here.shape:
            kwargs["attention_mask"] = seam.attention_argument(model, mask, here)
        return args, kwargs

    before = seam.install(model)
    hook = model.register_forward_pre_hook(prepare, with_kwargs=True)
    try:
        with activated(Plan(mask, tokens)):
            yield
    finally:
        hook.remove()
        seam.uninstall(model, before)


def map_of(given: Tensor | dict[str, Tensor] | None, read: Tensor, seen: int) -> TokenMap | None:
    """One text a row; None where the masks were made beforehand, as `generate` does for a static cache."""
    if given is None:
        return TokenMap.text(torch.ones(read.shape[0], seen + read.shape[1], dtype=torch.bool, device=read.device))
    return TokenMap.text(given[:, :seen + read.shape[1]]) if isinstance(given, Tensor) and given.dim() == 2 else None


def rows_of(positions: Positions, tokens: TokenMap, seen: int, count: int, batch: int) -> Tensor:
    """Position ids of the tokens that this call reads, [batch, count]."""
    beyond = seen + count - tokens.shape[1]
    ids = positions.assign(tokens.extend(beyond) if beyond > 0 else tokens)[:, seen:seen + count]
    return ids.repeat_interleave(batch // ids.shape[0], 0)
