"""The adaptive mask equals that of the released RealCustom++."""
import json

import pytest
import torch

from mm.diffusion.custom import AdaptiveMask, Spread
from tests.golden import load

GOLDEN = load("diffusion", "realcustom_mask")
META = json.loads(GOLDEN.meta)
CASES = [(case, tuple(modes)) for case, meta in META.items() for modes in meta["modes"]]


def recorded(case: str, kind: str) -> list[torch.Tensor]:
    names = sorted(name for name in vars(GOLDEN) if name.startswith(f"{case}/{kind}_"))
    return [getattr(GOLDEN, name) for name in names]


def word_maps(case: str) -> list[torch.Tensor]:
    """[B, h, w] a layer: mean over heads, sum over the word's tokens."""
    return [each.mean(1)[:, META[case]["target_tokens"]].sum(1) for each in recorded(case, "cross")]


@pytest.mark.parametrize(("case", "modes"), CASES, ids=lambda value: "+".join(value) if isinstance(value, tuple) else value)
def test_every_mode_is_the_release_to_the_bit(case: str, modes: tuple[str, ...]) -> None:
    mask = AdaptiveMask.released(modes, META[case]["scope"])
    self_maps = [each[:, 0] for each in recorded(case, "self")] if mask.spread else []
    expected = getattr(GOLDEN, f"{case}/mask_{'+'.join(modes)}")
    if case == "self" and mask.spread is None:
        mask = AdaptiveMask(mask.scope, mask.scale, mask.keep, mask.values, Spread("none", "flattened"))
        self_maps = [each[:, 0] for each in recorded(case, "self")]
    found = mask(word_maps(case), tuple(META[case]["target_hw"]), self_maps)[:, None]
    assert torch.equal(found > 0, expected > 0)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
