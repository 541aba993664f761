"""BiFormer's attention against the original code: choice of windows, their weights, and the output."""
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from mm.vision.attention import BilevelRouting, Windows, regional_attention
from tests.golden import close, load, weights


def routing_of(stored: dict[str, Tensor], **settings: Any) -> BilevelRouting:
    model = BilevelRouting(**settings)
    names = {"qkv.qkv": "qkv", "wo": "out", "lepe": "local"}
    model.load_state_dict({f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value for name, value in stored.items()})
    return model


@pytest.mark.parametrize("case", ["bra_ident", "bra_ada", "bra_soft"])
def test_bilevel_routing_equals_the_original(case: str) -> None:
    golden = load("projectors", case)
    cfg = json.loads(golden.cfg)
    model = routing_of(weights(golden), width=cfg["dim"], heads=cfg["num_heads"], windows=cfg["n_win"], topk=cfg["topk"],
                       keys_per_window=cfg.get("kv_per_win"), local_kernel=cfg["side_dwconv"],
                       routing="soft" if cfg.get("soft_routing") else "detached")
    assert_routes(model, golden.x, golden.y, golden.route_idx, golden.route_weight)


def test_bilevel_routing_equals_the_original_on_seven_by_seven_windows() -> None:
    golden = load("longcontext", "biformer_bra")
    heads, windows, topk = golden.cfg.tolist()
    model = routing_of(weights(golden), width=golden.x.shape[-1], heads=heads, windows=windows, topk=topk, local_kernel=3)
    assert_routes(model, golden.x, golden.out, golden.route_idx, golden.route_weight)


def assert_routes(model: BilevelRouting, x: Tensor, y: Tensor, index: Tensor, weight: Tensor) -> None:
    """x, y: [B, rows, cols, C]."""
    grid = (x.shape[1], x.shape[2])
    with torch.no_grad():
        q, k, _ = model.qkv(x.flatten(1, 2)).chunk(3, -1)
        route = model.route(q, k, Windows.of(grid, model.windows))
        assert torch.equal(route.windows.sort(-1).values, index.sort(-1).values)
        close(route.weight.sort(-1).values, weight.sort(-1).values)
        close(model(x.flatten(1, 2), grid), y.flatten(1, 2))


def test_regional_attention_equals_the_original() -> None:
    golden = load("projectors", "regional_routing")
    heads, grid = golden.graph.shape[1], tuple(golden.q.shape[2:])
    windows = Windows(grid, tuple(golden.region_size.tolist()))
    q, k, v = (windows.cut(x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)) for x in (golden.q, golden.k, golden.v))
    out = regional_attention(q, k, v, golden.graph, float(golden.scale))
    close(windows.join(out).transpose(2, 3).flatten(1, 2).unflatten(-1, grid), golden.out)
    # The weights themselves, read through values that name their key.
    names = torch.eye(k.shape[2] * k.shape[3]).view(1, 1, k.shape[2], k.shape[3], -1).expand(*k.shape[:4], -1)
    read = regional_attention(q, k, names, golden.graph, float(golden.scale))
    places = (golden.graph[..., None] * k.shape[3] + torch.arange(k.shape[3])).flatten(3)
    close(read.gather(-1, places[:, :, :, None].expand(-1, -1, -1, q.shape[3], -1)), golden.attn)
