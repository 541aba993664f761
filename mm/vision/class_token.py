"""What the class token of an image encoder looks at: its row of the attention of a few layers, and never the matrix."""
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mm.vision.base import VisionEncoder

CLASS_TOKENS = ("class_embedding", "cls_token")  # how its parameter is called: in CLIP and open_clip, in timm


@torch.no_grad()
def class_rows(tower: nn.Module, pixel_values: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """Weights [B, heads, 1, N] of the class token, which stands first, in each of `layers`, in float32; negative ones are counted from the end. The
    patches' are the last of the N.

    tower: an encoder, or a vision tower of transformers, on any attention implementation; its outputs and itself are left as they are. pixel_values:
    as it takes them. TypeError for one without a class token in attention that can be seen, ValueError for a layer that it does not have.
    """
    attentions = self_attentions(tower)
    if wrong := [layer for layer in layers if not -len(attentions) <= layer < len(attentions)]:
        raise ValueError(f"layer {wrong[0]} does not exist; the {name_of(tower)} has layers 0 to {len(attentions) - 1}")
    rows: dict[int, Tensor] = {}
    hooks = [attentions[layer].register_forward_pre_hook(partial(see, rows, layer), with_kwargs=True) for layer in layers]
    pixel_values = pixel_values.to(next(tower.parameters()).dtype)
    try:
        if isinstance(tower, VisionEncoder):
            tower.features(pixel_values)
        else:
            tower(pixel_values=pixel_values)
    finally:
        for hook in hooks:
            hook.remove()
    return [rows[layer] for layer in layers]


def see(rows: dict[int, Tensor], layer: int, attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forward pre-hook of an attention module: keeps the first row of its weights."""
    hidden = args[0] if args else kwargs["hidden_states"]
    q, k = (each.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for each in projected(attention, hidden))
    if is_timm(attention):
        q, k = attention.q_norm(q), attention.k_norm(k)
    rows[layer] = (q.float() * q.shape[-1] ** -0.5 @ k.float().transpose(-1, -2)).softmax(-1)


def projected(attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Query of the first token [B, 1, C] and keys [B, N, C], heads side by side."""
    if hasattr(attention, "q_proj"):
        return attention.q_proj(hidden[:, :1]), attention.k_proj(hidden)
    prefix, fused = ("in_proj_", attention) if hasattr(attention, "in_proj_weight") else ("", attention.qkv)
    weight, bias = getattr(fused, f"{prefix}weight"), getattr(fused, f"{prefix}bias")
    q, k, _ = weight.chunk(3)
    of_q, of_k, _ = (None, None, None) if bias is None else bias.chunk(3)
    return nn.functional.linear(hidden[:, :1], q, of_q), nn.functional.linear(hidden, k, of_k)


def is_timm(module: object) -> bool:
    """Whether it is timm's plain self-attention: its relatives add biases or rotate."""
    return type(module).__name__ == "Attention" and all(hasattr(module, name) for name in ("qkv", "q_norm", "k_norm", "fused_attn"))


def self_attentions(tower: nn.Module) -> list[Any]:
    """The self-attention of each layer. TypeError where there is no class token, or attention of another kind."""
    if any(name.rpartition(".")[2] in CLASS_TOKENS for name, _ in tower.named_parameters()):
        stacks = [module for module in tower.modules() if isinstance(module, nn.ModuleList | nn.Sequential)
                  and len(module) and all(attention_of(layer) is not None for layer in module)]
        if len(stacks) == 1:
            return [attention_of(layer) for layer in stacks[0]]
    raise TypeError(f"{name_of(tower)} has no class token whose attention can be seen: it must stand first in layers of plain self-attention, as in "
                    "CLIP, in open_clip, and in timm's vision transformers without rotary positions; use a model with such an encoder")


def attention_of(layer: nn.Module) -> Any:
    """The attention of a block, None if it is of no kind that can be read."""
    found: Any = getattr(layer, "self_attn", getattr(layer, "attn", None))
    is_clip = isinstance(getattr(found, "q_proj", None), nn.Linear) and hasattr(found, "scale") and not hasattr(found, "rotate_half")
    return found if isinstance(found, nn.MultiheadAttention) or is_timm(found) or is_clip else None


def name_of(tower: nn.Module) -> str:
    """Of an encoder with the model that it wraps."""
    name = getattr(tower, "name", None)
    return f"{type(tower).__name__}({name!r})" if isinstance(tower, VisionEncoder) and isinstance(name, str) else type(tower).__name__
