"""Where sink tokens show: Sun et al., "Massive Activations in Large Language Models", COLM 2024.

In a few fixed channels of the hidden state the first token, and some others that draw attention without saying anything, are hundreds of times larger
than the rest. The channels belong to the model, not to the prompt.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

from mm.tokens import TokenMap

# By decoder. The first two are those of the released code of VAR; the others are taken from a third party's account of the paper, unverified. They do
# not carry over to a later version of a model.
SINK_CHANNELS = {
    "llama-2-7b": (1415, 2533),  # LLaVA-1.5-7B
    "llama-2-13b": (2100, 4743),  # LLaVA-1.5-13B, LLaVA-1.6-Vicuna-13B
    "qwen2-vl-7b": (458, 2570),
    "internvl2-8b": (3584,),
}


def massive_activation(hidden: Tensor, channels: Sequence[int] | None, tokens: TokenMap, threshold: float) -> Tensor:
    """Largest |channel| over the root mean square of each token, [B, N], of hidden states [B, N, C], in float32, without the layer's norm weights.

    channels: None for those in which the first token of the same document exceeds `threshold`; an empty list is a model without sinks. ValueError for
    a channel that does not exist, and for states that are not finite.
    """
    size = relative_size(hidden)
    if channels is not None and not channels:
        return torch.zeros_like(size[..., 0])
    if channels is not None:
        if wrong := [channel for channel in channels if not 0 <= channel < hidden.shape[-1]]:
            raise ValueError(f"sink channel {wrong[0]} does not exist in hidden states {hidden.shape[-1]} wide; channels belong to one model: take "
                             "its own from SINK_CHANNELS, or find them with find_sink_channels")
        return size[..., list(channels)].amax(-1)
    order = torch.arange(size.shape[1], device=size.device)
    first = torch.where(tokens.is_real & (tokens.depth == 0), order, 0).cummax(1).values
    return size.masked_fill(size.gather(1, first.unsqueeze(-1).expand_as(size)) <= threshold, 0.0).amax(-1)


def find_sink_channels(states: Sequence[Tensor], real: Sequence[Tensor] | None = None, threshold: float = 20.0) -> tuple[int, ...]:
    """Channels in which the first token is massive, the largest first; empty if there is none. Reconstruction: the paper names no method.

    states: hidden states [B, N, C] of a handful of prompts, from layers in the middle of one model; they may differ in N. real: bool [B, N] for each,
    True on real tokens; all if None. The channels belong to the model: find them once and keep them with its name.
    """
    if not states:
        raise ValueError("find_sink_channels needs the hidden states of at least one prompt; got none")
    first = []
    for index, hidden in enumerate(states):
        at = torch.zeros(hidden.shape[0], dtype=torch.long, device=hidden.device) if real is None else real[index].long().argmax(1)
        first.append(relative_size(hidden)[torch.arange(hidden.shape[0], device=hidden.device), at])
    size = torch.cat(first).median(0).values
    order = size.argsort(descending=True)
    return tuple(order[size[order] > threshold].tolist())


def relative_size(hidden: Tensor) -> Tensor:
    """|channel| over the root mean square of its token, float32 [B, N, C]. ValueError for states that are not finite."""
    hidden = hidden.detach().float()  # a sum of squares overflows float16
    square = hidden.pow(2).mean(-1, keepdim=True)
    if not bool(square.isfinite().all()):
        row, index = (~square.isfinite()).nonzero()[0, :2].tolist()
        raise ValueError(f"the hidden state of token {index} in row {row} is not finite: the model has overflowed; run it in bfloat16 or float32")
    return hidden.abs() / (square + 1e-6).sqrt()
