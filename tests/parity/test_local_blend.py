"""Masks of words and blended latents as both released notebooks compute them."""
import json

import numpy as np
import pytest
import torch
from torch import Tensor

from mm.diffusion.blend import blend_mask, blended
from tests.golden import load

GOLDEN = load("diffusion", "local_blend")
CASES = json.loads(GOLDEN.meta)


@pytest.mark.parametrize("name", CASES)
def test_masks_and_latents(name: str) -> None:
    case, golden = CASES[name], vars(GOLDEN)
    generator = np.random.RandomState(case["seed"])
    count, heads = len(case["prompts"]), case["heads"]
    y, x = np.mgrid[:16, :16]
    layers = []
    for _ in range(5):
        maps = 0.05 * generator.rand(count * heads, 256, 77)
        for row, token, cy, cx, sigma, height in case["bumps"]:
            maps[row * heads:(row + 1) * heads, :, token] += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2)).reshape(-1)
        layers.append(torch.from_numpy(maps.astype(np.float32)).view(count, heads, 16, 16, 77))
    latents = torch.from_numpy(generator.standard_normal((count, case["channels"], case["size"], case["size"])).astype(np.float32))
    mean = torch.cat(layers, 1).mean(1)

    def heat(tokens: list[list[int]]) -> Tensor:
        return torch.stack([maps[..., chosen].sum(-1) for maps, chosen in zip(mean, tokens, strict=True)])[:, None]

    size, options = (case["size"], case["size"]), case["kw"]
    threshold = options.get("th", [options.get("threshold", 0.3)] * 2)
    mask = blend_mask(heat(case["word_inds"]), size, threshold[0])
    if "sub_inds" in case:
        mask = mask & ~blend_mask(heat(case["sub_inds"]), size, threshold[1], reach=0)
    expected = torch.from_numpy(np.unpackbits(golden[f"{name}/mask"].numpy(), axis=-1)).bool()
    assert torch.equal(mask[1:, 0], expected)
    assert 0.1 < expected.float().mean() < 0.9
    torch.testing.assert_close(blended(latents, mask)[1:], golden[f"{name}/x_out"], atol=2e-6, rtol=1e-5)
