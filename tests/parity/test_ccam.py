"""Video-CCAM's mask and attention against recorded numbers (by equation: its code is not public), and its sizes against the published weights'."""
import pytest
import torch

from mm.streams import CausalCeil, CausalCrossAttention, CausalFloor, FrameMask, Full
from mm.streams.prefixes import prefix_attention
from tests.golden import load

MASKS: dict[str, FrameMask] = {"ceil": CausalCeil(), "floor": CausalFloor()}
CASES = [(8, 4, 3), (8, 3, 2), (6, 1, 4), (4, 8, 2), (5, 5, 1)]
EXACT = {"rtol": 0, "atol": 1e-9}


@pytest.mark.parametrize("rounding", MASKS)
@pytest.mark.parametrize(("queries", "frames"), [*(case[:2] for case in CASES), (1024, 16), (1024, 96)])
def test_last_frames(rounding: str, queries: int, frames: int) -> None:
    wanted = getattr(load("projectors", "derived_ccam_mask"), f"lastframe_{rounding}_{queries}_{frames}")
    assert MASKS[rounding].last(queries, frames).tolist() == wanted.tolist()


@pytest.mark.parametrize("rounding", MASKS)
@pytest.mark.parametrize(("queries", "frames", "tokens"), CASES)
def test_first_queries_say_the_same_as_the_dense_mask(rounding: str, queries: int, frames: int, tokens: int) -> None:
    allowed = getattr(load("projectors", "derived_ccam_mask"), f"allowed_{rounding}_{queries}_{frames}_{tokens}")
    first = torch.from_numpy(MASKS[rounding].first(queries, frames)).repeat_interleave(tokens)
    assert torch.equal(torch.arange(queries)[:, None] >= first, allowed)


def test_attention() -> None:
    case = load("projectors", "derived_ccam_attention")
    heads, frames = int(case.heads), 4
    q, k, v = (x.view(1, len(x), heads, -1).transpose(1, 2) for x in (case.q, case.k, case.v))
    wanted_mask = torch.arange(8)[:, None] >= torch.from_numpy(CausalCeil().first(8, frames)).repeat_interleave(3)
    assert torch.equal(wanted_mask, case.mask)
    for mask, wanted in ((CausalCeil(), case.out), (Full(), case.out_unmasked)):
        out = prefix_attention(q, k, v, mask.first(8, frames).tolist())
        torch.testing.assert_close(out[0].transpose(0, 1).flatten(1), wanted, **EXACT)


def test_v1_0_has_the_parameters_of_the_published_file() -> None:
    """112 MB of float32 for the 9B model: SigLIP's width 1152, Yi's width 4096."""
    with torch.device("meta"):
        projector = CausalCrossAttention(1152, 4096)
    assert sum(parameter.numel() for parameter in projector.parameters()) == 27_996_672


def test_v1_2_has_the_published_shapes() -> None:
    with torch.device("meta"):
        projector = CausalCrossAttention(1152, 3584, queries=1024, width=1024, heads=16, key_heads=16, ffn="gated")
    maps = {"attention.query": (1024, 1024), "attention.key": (1024, 1152), "attention.value": (1024, 1152), "attention.out": (1024, 1024),
            "head.gate": (4096, 1024), "head.up": (4096, 1024), "head.down": (3584, 4096)}
    wanted = {"query": (1024, 1024)} | {f"{name}.weight": shape for name, shape in maps.items()} | {f"{name}.bias": shape[:1]
                                                                                                  for name, shape in maps.items()}
    assert {name: tuple(value.shape) for name, value in projector.state_dict().items()} == wanted
