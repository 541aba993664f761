"""Blocks inside the language model equal the released OpenFlamingo block, transformers' Llama 3.2 Vision layer, and CrossLMM's equations."""
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.mllama.configuration_mllama import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaCrossAttentionDecoderLayer

from mm.streams import (
    AllPrevious,
    DualCrossAttention,
    GatedCrossAttention,
    Immediate,
    LlamaVisionCrossAttention,
    OwnFrame,
    Scope,
    Shape,
    Sources,
    WholeMedium,
)
from mm.streams.gated import GatedBlock
from tests.crossings import crossing, rows_of
from tests.golden import load, weights

CLOSE = {"rtol": 0, "atol": 2e-5}
RULES = {"immediate": Immediate(), "all_prev": AllPrevious()}


def flamingo(golden: Any, stream: GatedCrossAttention) -> GatedBlock:
    stored = weights(golden)
    width, source = golden.x.shape[-1], golden.media.shape[-1]
    block = stream.block(Shape(width, 1, 1, width, width, 1e-5), source)
    k, v = stored["attn.to_kv.weight"].chunk(2)
    block.load_state_dict({
        "read.norm.weight": stored["attn.norm.weight"], "read.norm.bias": stored["attn.norm.bias"],
        "read.attention.query.weight": stored["attn.to_q.weight"], "read.attention.key.weight": k, "read.attention.value.weight": v,
        "read.attention.out.weight": stored["attn.to_out.weight"], "read.gate": stored["attn_gate"][0], "feed_gate": stored["ff_gate"][0],
        "feed.0.weight": stored["ff.0.weight"], "feed.0.bias": stored["ff.0.bias"], "feed.1.weight": stored["ff.1.weight"],
        "feed.3.weight": stored["ff.3.weight"]})
    return block


def shown_in(golden: Any) -> Sources:
    markers = golden.media_locations
    assert (markers.sum(1) == golden.media.shape[1]).all()
    return Sources(golden.media.flatten(0, 2), [[golden.media.shape[2]]] * golden.media.shape[:2].numel(),
                 rows_of(torch.where(markers, markers.cumsum(1) - 1, -1)))


def stream_of(golden: Any, case: str) -> GatedCrossAttention:
    return GatedCrossAttention(heads=int(golden.heads), head_width=int(golden.dim_head), growth=int(golden.ff_mult), seen=RULES[case])


@torch.no_grad()
@pytest.mark.parametrize("case", ["immediate", "all_prev"])
def test_gated_cross_attention_is_openflamingo_s(case: str) -> None:
    golden = load("projectors", f"gated_xattn_{case}")
    stream, media = stream_of(golden, case), shown_in(golden)
    block = flamingo(golden, stream)
    found = block(golden.x, crossing(stream, media), 0)
    before = golden.media_locations.cumsum(1) == 0
    assert before.any()
    wanted = golden.y
    if case == "all_prev":  # the released code lets a token before any medium average over all that come later
        average = block.read.attention.value(golden.media.flatten(1, 2)).mean(1, keepdim=True)
        leaking = golden.x + torch.tanh(block.read.gate) * block.read.attention.out(average)
        leaking = leaking + torch.tanh(block.feed_gate) * block.feed(leaking)
        torch.testing.assert_close(wanted[before], leaking[before], **CLOSE)
        assert (found[before] - wanted[before]).abs().max() > 0.01
        unread = golden.x + torch.tanh(block.feed_gate) * block.feed(golden.x)
        wanted = torch.where(before[..., None], unread, wanted)
    torch.testing.assert_close(found, wanted, **CLOSE)
    behind = block(golden.x[:, -1:], crossing(stream, media, goes_on=1), 0)
    torch.testing.assert_close(behind, golden.y_cached_last, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(("scope", "name"), [(WholeMedium(), "global"), (OwnFrame(), "frame")])
def test_dual_cross_attention_is_its_equations(scope: Scope, name: str) -> None:
    golden = load("projectors", "derived_crosslmm_dual")
    width, visual = golden.x.shape[1], int(golden.num_visual)
    stream = DualCrossAttention(scope=scope)
    heads = int(golden.heads)
    block = stream.block(Shape(width, heads, int(golden.kv_heads), width // heads, width, float(golden.rms_eps)), golden.orig.shape[1]).double()
    parts = {"attention.query.weight": "q", "attention.key.weight": "k", "attention.value.weight": "v", "attention.out.weight": "o",
             "norm.weight": "norm", "gate": "gate"}
    block.load_state_dict({f"{branch}.{ours}": getattr(golden, f"p.{branch}.{theirs}")
                           for branch in ("v2v", "t2v") for ours, theirs in parts.items()})
    index = torch.arange(len(golden.x))
    media = Sources(golden.orig, [[int(golden.tokens_per_frame)] * int(golden.frames)],
                  rows_of(torch.where(index < visual, 0, -1)[None], index[None] // int(golden.pooled_per_frame)))
    found = block(golden.x[None], crossing(stream, media), 0)[0]
    torch.testing.assert_close(found, getattr(golden, f"out_{name}"), rtol=0, atol=1e-9)


@torch.no_grad()
def test_llama_vision_cross_attention_is_transformers() -> None:
    torch.manual_seed(0)
    config = MllamaTextConfig(hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, hidden_act="silu", vocab_size=8,
                              num_hidden_layers=1, cross_attention_layers=[0], rms_norm_eps=1e-5, pad_token_id=0)
    config._attn_implementation = "sdpa"
    theirs = MllamaCrossAttentionDecoderLayer(config, 0).eval()
    for parameter in theirs.parameters():
        parameter.normal_(0, 0.4)
    stream = LlamaVisionCrossAttention()
    ours = stream.block(Shape(32, 4, 2, 8, 48, 1e-5), 32)
    names = {"read.norm": "input_layernorm", "norm": "post_attention_layernorm", "read.gate": "cross_attn_attn_gate",
             "feed_gate": "cross_attn_mlp_gate", "read.attention.query_norm": "cross_attn.q_norm", "read.attention.key_norm": "cross_attn.k_norm",
             **{f"read.attention.{a}": f"cross_attn.{b}_proj" for a, b in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o"))},
             **{name: f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")}}
    state = theirs.state_dict()
    ours.load_state_dict({name: weight(state, names, name, like) for name, like in ours.state_dict().items()})
    x, features = torch.randn(2, 7, 32), torch.randn(2 * 6, 32)
    media = torch.tensor([[-1, 0, -1, -1, 1, -1, -1], [0, 1, -1, -1, -1, -1, -1]])
    seen = torch.zeros(2, 7, 1, 2)
    seen[0, 1:, 0, 0] = seen[0, 4:, 0, 1] = seen[1, :, 0, 0] = seen[1, 1:, 0, 1] = 1
    allowed = seen.repeat_interleave(3, 3).squeeze(2).unsqueeze(1)
    mask = torch.zeros_like(allowed).masked_fill(allowed == 0, torch.finfo(torch.float32).min)
    some = allowed.any(-1, keepdim=True).float()
    wanted = theirs(x, features.view(2, 6, 32), mask * some, None, some)
    found = ours(x, crossing(stream, Sources(features, [[3]] * 4, rows_of(media))), 0)
    reading = some[:, 0, :, 0].bool()
    torch.testing.assert_close(found[reading], wanted[reading], **CLOSE)
    assert torch.equal(found[~reading], x[~reading])
    assert not torch.equal(wanted[~reading], x[~reading])


def weight(state: dict[str, Tensor], names: dict[str, str], name: str, like: Tensor) -> Tensor:
    """Ours, by the name that transformers gives it."""
    stem, _, end = name.rpartition(".")
    return state[names[name]].view_as(like) if name in names else state[f"{names[stem]}.{end}"]
