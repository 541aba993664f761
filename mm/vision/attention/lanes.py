"""MULTI-LANE: De Min et al., "Less is more: Summarizing Patch Tokens for efficient Multi-Label Class-Incremental Learning", CoLLAs 2024.

Beside a frozen vision transformer runs a lane for each task: a class token and a few selectors. In each layer a selector's place is taken by a
summary of the frozen layer's tokens, and the lane passes through the frozen weights, with prompts among its keys. Lanes do not see each other, so a
new task cannot disturb an old one.
"""
from typing import Any, Literal

import torch
from torch import Tensor

from mm.attention import attend

Places = Literal["replace", "carry"]


def summaries(selectors: Tensor, x: Tensor) -> Tensor:
    """selectors: [T, B, S, C]. x: [B, N, C], tokens of the frozen layer, class token included. → [T, B, S, C], softmax(selector x^T / sqrt(C)) x.

    One head over the full width; no maps. All lanes are rows of one attention.
    """
    lanes = selectors.shape[0]
    rows = selectors.transpose(0, 1).flatten(1, 2)[:, None]
    return attend(rows, x[:, None], x[:, None]).out[:, 0].unflatten(1, (lanes, -1)).transpose(0, 1)


def lane_block(block: Any, x: Tensor, lanes: Tensor, prompts: Tensor | None = None, places: Places = "replace", summarise: bool = True) -> Tensor:
    """The lanes after one frozen block.

    Args:
        block: of a vision transformer of timm. x: [B, N, C], the frozen tokens that enter it. lanes: [T, B, 1 + S, C], class token first.
        prompts: [2, T, K, heads, D], prepended to keys and values of each lane; None for a block without.
        places: "replace" (drop and replace), only the class token carries on what attention gave, and the normed selector stands in the place of its
            summary's output; "carry", the summaries' outputs go on instead.
        summarise: False, the lane's own tokens are attended instead of summaries: blocks after the first under "carry", as released.
    """
    attention = block.attn
    normed = block.norm1(lanes)
    token, selectors = normed[:, :, :1], normed[:, :, 1:]
    read = torch.cat([token, summaries(selectors, block.norm1(x).detach())], 2) if summarise else normed
    q, k, v = attention.qkv(read.flatten(0, 1)).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if prompts is not None:
        k, v = (torch.cat([prompt.transpose(1, 2).repeat_interleave(len(x), 0), part], 2) for prompt, part in zip(prompts, (k, v), strict=True))
    if places == "replace":
        q = q[:, :, :1]  # the other rows would be dropped
    mixed = attention.proj(attend(q, k, v).out.transpose(1, 2).flatten(2)).unflatten(0, lanes.shape[:2])
    if places == "replace":
        mixed = torch.cat([mixed, selectors], 2)
    lanes = lanes + block.ls1(mixed)
    return lanes + block.ls2(block.mlp(block.norm2(lanes)))
