"""Projectors against vectors recorded from the original implementations."""
import json
from collections.abc import Mapping
from math import isqrt
from typing import Literal

import pytest
import torch
from timm.layers import LayerNorm2d
from timm.models.regnet import RegStage as TimmRegStage
from torch import Tensor, nn

from mm.streams import MLP, CAbstractor, EfficientProbing, Linear, PixelShuffle, Pool2d, TokenPacker
from mm.streams.reg_stage import RegStage
from tests.golden import close, load, weights


def renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """With the beginnings of names changed as told; every weight must be."""
    return {next(ours + name[len(theirs):] for theirs, ours in names.items() if name.startswith(theirs)): value for name, value in weights.items()}


def test_linear_is_llava_s() -> None:
    golden = load("projectors", "llava_linear")
    ours = Linear(12, 16)
    ours.map.load_state_dict(weights(golden))
    close(ours(golden.x, (1, 5)), golden.y)


@pytest.mark.parametrize("depth", [2, 3])
def test_mlp_is_llava_s(depth: int) -> None:
    golden = load("projectors", f"llava_mlp{depth}x_gelu")
    ours = MLP(12, 16, depth)
    ours.layers.load_state_dict(weights(golden))
    close(ours(golden.x, (1, 5)), golden.y)


@pytest.mark.parametrize(("side", "factor"), [(6, 2), (6, 3), (8, 4)])
def test_pixel_shuffle_orders_channels_as_idefics_and_internvl(side: int, factor: int) -> None:
    golden = vars(load("projectors", "pixel_shuffle"))
    x = golden[f"x_{side}_{factor}"]
    width = x.shape[-1] * factor**2
    ours = PixelShuffle(x.shape[-1], width, factor)
    ours.map.weight.data = torch.eye(width)
    for name in ("idefics3", "internvl"):
        if (wanted := golden.get(f"{name}_{side}_{factor}")) is not None:
            assert torch.equal(ours(x, (side, side)), wanted)


@pytest.mark.parametrize("kind", ["average", "max", "bilinear"])
@pytest.mark.parametrize(("side", "strides"), [(27, (2, 3, 9)), (24, (2, 3, 6))])
def test_pooling_is_llava_s(side: int, strides: tuple[int, ...], kind: Literal["average", "max", "bilinear"]) -> None:
    golden = vars(load("projectors", "pool2d"))
    for stride in strides:
        ours = Pool2d(3, 3, stride, kind, depth=1)
        ours.mlp.layers[0].load_state_dict({"weight": torch.eye(3), "bias": torch.zeros(3)})
        wanted = golden[f"y_{side}_{kind}_s{stride}"]
        assert ours.num_tokens((side, side)) == wanted.shape[1]
        close(ours(golden[f"x_{side}"], (side, side)), wanted)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_c_abstractor_is_honeybee_s(depth: int) -> None:
    golden = load("projectors", f"cabstractor_d{depth}")
    config = json.loads(golden.cfg)
    side = isqrt(golden.x.shape[1])
    ours = CAbstractor(config["encoder_hidden_size"], config["output_hidden_size"], config["num_query_tokens"], config["hidden_size"], depth,
                       (side, side) if config["pos_emb"] else None, config["prenorm"], config["num_eos_tokens"], config["mlp_depth"])
    given = {name: value[0] if name in ("pos_emb", "eos_tokens") else value for name, value in weights(golden).items()}
    ours.load_state_dict(renamed(given, {"net.0.": "before.", "net.2.": "after.", "readout.": "readout.", "pos_emb": "positions",
                                         "eos_tokens": "end", "prenorm.": "prenorm."}))
    close(ours(golden.x, (side, side)), golden.y)


@pytest.mark.parametrize(("width", "depth"), [(16, 2), (24, 3)])
def test_a_stage_is_timm_s(width: int, depth: int) -> None:
    torch.manual_seed(0)
    theirs = TimmRegStage(depth, 16, width, stride=1, dilation=1, act_layer=nn.SiLU, norm_layer=LayerNorm2d)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    ours = RegStage(16, width, depth)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 16, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_token_packer_is_the_original(factor: int) -> None:
    golden = load("projectors", f"tokenpacker_s{factor}")
    side, width = int(golden.grid), golden.x.shape[-1]
    given = weights(golden)
    for part in ("weight", "bias"):
        split = given.pop(f"clip_attn.in_proj_{part}").chunk(3)
        given |= {f"clip_attn.{name}.{part}": value for name, value in zip(("query", "key", "value"), split, strict=True)}
    ours = TokenPacker(width, golden.y.shape[-1], factor, heads=int(golden.num_heads))
    ours.load_state_dict(renamed(given, {
        "q_proj_1.": "query.", "k_proj_1.": "key.", "v_proj_1.": "value.", "ln_q_1.": "query_norm.", "ln_k_1.": "key_norm.", "ln_v_1.": "value_norm.",
        "clip_attn.out_proj.": "attention.out.", "clip_attn.": "attention.", "mlp.": "mlp."}))
    close(ours(torch.cat([golden.x, golden.x_multi], -1), (side, side)), golden.y)


@pytest.mark.parametrize("case", ["ep_a", "ep_b"])
def test_the_probe_s_slices_are_those_of_our_tokens(case: str) -> None:
    golden = load("projectors", case)
    given = weights(golden)
    queries, out = int(golden.num_queries), golden.y.shape[-1]
    ours = EfficientProbing(golden.x.shape[-1], out, queries, bias="v.bias" in given)
    ours.load_state_dict({"query": given["cls_token"][0], **{f"map.{name[2:]}": value for name, value in given.items() if name.startswith("v.")}})
    tokens = ours(golden.x, (1, golden.x.shape[1])).unflatten(-1, (queries, -1))
    close(torch.cat([tokens[:, m, m] for m in range(queries)], -1), golden.y)
    close((ours.query @ golden.x.transpose(1, 2) * float(golden.scale)).softmax(-1), golden.attn)
