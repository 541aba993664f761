"""What the class token of a vision tower looks at: its row of the attention of a few layers, and never the matrix."""
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def class_rows(tower: nn.Module, pixel_values: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """Weights [B, heads, 1, 1 + V] of the class token, which stands first, in each of `layers`, in float32; negative ones are counted from the end.

    tower: of CLIP, in transformers, on any attention implementation; its outputs and itself are left as they are. pixel_values: as it takes them.
    TypeError for a tower without a class token in its attention, ValueError for a layer that it does not have.
    """
    attentions = self_attentions(tower)
    if wrong := [layer for layer in layers if not -len(attentions) <= layer < len(attentions)]:
        raise ValueError(f"layer {wrong[0]} does not exist; the {type(tower).__name__} has layers 0 to {len(attentions) - 1}")
    rows: dict[int, Tensor] = {}
    hooks = [attentions[layer].register_forward_pre_hook(partial(see, rows, layer), with_kwargs=True) for layer in layers]
    try:
        tower(pixel_values=pixel_values.to(next(tower.parameters()).dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return [rows[layer] for layer in layers]


def see(rows: dict[int, Tensor], layer: int, attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forward pre-hook of an attention module: keeps the first row of its weights."""
    hidden = args[0] if args else kwargs["hidden_states"]
    q, k = (project(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2).float()
            for project, x in ((attention.q_proj, hidden[:, :1]), (attention.k_proj, hidden)))
    rows[layer] = (q * attention.scale @ k.transpose(-1, -2)).softmax(-1)


def self_attentions(tower: nn.Module) -> list[Any]:
    """The self-attention of each layer. TypeError for a tower that is not built as CLIP's."""
    stacks = [module for module in tower.modules() if isinstance(module, nn.ModuleList)
              and len(module) and all(hasattr(getattr(layer, "self_attn", None), "q_proj") for layer in module)]
    if len(stacks) != 1 or not any(name.endswith("class_embedding") for name, _ in tower.named_parameters()):
        raise TypeError(f"{type(tower).__name__} has no class token that layers of self-attention read, as CLIP's vision tower of transformers has; "
                        "use a model with such an encoder")
    return [layer.self_attn for layer in stacks[0]]
