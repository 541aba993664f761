"""Attention balancing: Chefer et al., "Attend-and-Excite: Attention-Based Semantic Guidance for Text-to-Image Diffusion Models", SIGGRAPH 2023.

Every noun shall hold some pixel for itself. A pixel's tokens compete in a softmax; a noun's *peak* is the best that it reaches anywhere.
"""
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from mm.diffusion.leakage.nouns import Columns, of_nouns

SHARPNESS = 100.0  # attention is a share of 1 among all keys; scaled up, the softmax nearly chooses one


def peaks(maps: Tensor, nouns: Columns) -> Tensor:
    """[..., N]: the highest value of each noun's smoothed share, for maps [..., H, W, K]; at most 1, up to rounding.

    The first and the last key take no part in the softmax, as published: the start token, and the last place of the padding. A noun of several tokens
    has the sum of their shares, which is ours: the original takes one token. The maps are left as they are (the original scales them in place).
    """
    last = maps.shape[-1] - 1
    if any(token in (0, last) for tokens in nouns for token in tokens):
        raise ValueError(f"nouns at keys {[list(tokens) for tokens in nouns]}; the first and the last of the {last + 1} keys are no words")
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    shares = (maps[..., 1:-1] * SHARPNESS).softmax(-1)
    return smoothed(of_nouns(shares, [[token - 1 for token in tokens] for tokens in nouns])).flatten(-2).amax(-1)


def balance(maps: Tensor, nouns: Columns, over: Literal["max", "mean"] = "max") -> Tensor:
    """[...]: what the nouns lack to a peak of 1, the worst of them or their mean.

    A noun whose peak has reached 1 has no gradient any more, which is the published form.
    """
    lacking = (1 - peaks(maps, nouns)).clamp(min=0)
    return lacking.amax(-1) if over == "max" else lacking.mean(-1)


def smoothed(maps: Tensor) -> Tensor:
    """[..., H, W] under a Gaussian of 3 x 3, reflected at the edges. Its exponent is -(x / (2 · 0.5))², as released: 1/√2 wide, not 1/2."""
    line = torch.exp(-torch.tensor([-1.0, 0.0, 1.0], dtype=maps.dtype, device=maps.device) ** 2)
    line = line / line.sum()
    flat = pad(maps.reshape(-1, 1, *maps.shape[-2:]), (1, 1, 1, 1), mode="reflect")
    return conv2d(flat, torch.outer(line, line)[None, None]).reshape(maps.shape)
