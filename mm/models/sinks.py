"""The sink channels of a model, found on the model itself: Sun et al., "Massive Activations in Large Language Models", COLM 2024.

A few prompts are read and the hidden states that enter the layers in the middle are looked at, where massive activations are there in full.
"""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mm.language.anatomy import decoder_layers
from mm.models.modes import evaluating
from mm.models.vlm import VLM
from mm.reweight.sinks import find_sink_channels, relative_size
from mm.sample import Sample

_found: WeakKeyDictionary[nn.Module, dict[float, tuple[int, ...]]] = WeakKeyDictionary()


class NoSinkChannelsError(ValueError):
    """A model without massive activations."""


def sink_channels(model: VLM | PreTrainedModel, prompts: Sequence[Sample] | Sequence[Mapping[str, Any]], threshold: float = 20.0) -> tuple[int, ...]:
    """Hidden channels in which the first token of a prompt is massive, the largest first: `VAR.paper(sink_channels(model, prompts))`.

    prompts: a handful; samples for a mm.VLM, of which the last question is read, and for a model of transformers what its processor made of one or
    several prompts each. threshold: activation over root mean square, as in VAR.

    The channels belong to a model and not to its prompts, so they are looked for once for each model object (and threshold) and remembered as long as
    it lives; who trains a model on, or is in doubt, asks `measured_sink_channels`. The model is read as it is, levers included, and left as it was.

    NoSinkChannelsError, a ValueError, for a model too narrow to have any, or without any on these prompts. ValueError without prompts.
    """
    known = _found.setdefault(model, {})
    if threshold not in known:
        known[threshold] = measured_sink_channels(model, prompts, threshold)
    return known[threshold]


@torch.no_grad()
def measured_sink_channels(model: VLM | PreTrainedModel, prompts: Sequence[Sample] | Sequence[Mapping[str, Any]],
                           threshold: float = 20.0) -> tuple[int, ...]:
    """`sink_channels`, looked for anew."""
    decoder = model.language.model if isinstance(model, VLM) else model
    width = decoder.config.get_text_config().hidden_size
    if width <= threshold**2:
        raise NoSinkChannelsError(f"{type(decoder).__name__} is {width} wide, and no channel of a token can be more than the square root of that, "
                                  f"{width**0.5:.1f}, times its root mean square: none exceeds {threshold:g}. It has no sink channels; "
                                  "lower the threshold to look for the largest ones all the same")
    layers = decoder_layers(decoder)
    middle = range(len(layers) // 4, len(layers) - len(layers) // 4)
    first: list[Tensor] = []  # tokens of each prompt and layer, [B, 1, C]
    passing: list[Tensor] = []
    with evaluating(model), watched([layers[index] for index in middle], passing):
        for real in read(model, prompts):
            rows = torch.arange(len(real), device=real.device)
            first += [hidden[rows, real.long().argmax(1)].unsqueeze(1) for hidden in passing]
            passing.clear()
    channels = find_sink_channels(first, threshold=threshold)
    if not channels:
        largest = max(float(relative_size(hidden).max()) for hidden in first)
        raise NoSinkChannelsError(f"in the layers {middle.start} to {middle.stop - 1} of {type(decoder).__name__} no channel of the first token is, "
                                  f"in the median over the prompts, above {threshold:g} times its root mean square (the largest single "
                                  f"one: {largest:.1f}), so it has no sink channels; use a rule that does not ask for them, or lower the threshold")
    return channels


def read(model: VLM | PreTrainedModel, prompts: Sequence[Sample] | Sequence[Mapping[str, Any]]) -> Iterator[Tensor]:
    """Lets the model read each of the prompts, and tells which of its tokens are no padding, bool [B, N]."""
    for prompt in prompts:
        if isinstance(prompt, Sample) != isinstance(model, VLM):
            raise TypeError(f"{type(model).__name__} cannot read a {type(prompt).__name__}: a mm.VLM reads mm.sample.Sample, and a model of "
                            "transformers the inputs that its processor makes")
        if isinstance(model, VLM) and isinstance(prompt, Sample):
            batch = model.processor.collate([model.processor.prompt(prompt)]).to(model.device)
            model.hidden(batch)
            yield batch.tokens.is_real
        elif isinstance(prompt, Mapping):
            model(**prompt, use_cache=False)
            mask = prompt.get("attention_mask")
            yield (torch.ones_like(prompt["input_ids"]) if mask is None else mask).bool()


@contextmanager
def watched(layers: Sequence[nn.Module], states: list[Tensor]) -> Iterator[None]:
    """What enters each of the layers is appended to `states`, [B, N, C]."""
    hooks = [layer.register_forward_pre_hook(partial(watch, states), with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def watch(states: list[Tensor], layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    states.append(args[0] if args else kwargs["hidden_states"])
