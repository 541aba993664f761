"""Concentric causal attention: rings, ids, mask and logits of the released model, and per-sample numbers where its batches are wrong."""
from typing import Any

import numpy as np
import pytest
import torch

from mm.masks import Causal, PositionCausal
from mm.positions import Concentric, ReverseRaster, Sequential
from mm.tokens import TokenMap
from tests.golden import load
from tests.parity.llama import read
from tests.toys import row

CASES = ["cca_g2_p2_s2", "cca_g4_p3_s5", "cca_g6_p0_s4", "cca_g8_p5_s1"]
CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}


def about_a_square(prefix: int, side: int, suffix: int) -> TokenMap:
    return row("s" * prefix + "i" * side**2 + "q" * suffix, cols=side)


def tokens_of(golden: Any) -> TokenMap:
    return about_a_square(int(golden.prefix_len), int(golden.grid), int(golden.suffix_len))


@pytest.mark.parametrize("case", CASES)
def test_ids_and_mask_are_the_original_s(case: str) -> None:
    golden = load("masks", case)
    tokens = tokens_of(golden)
    ids = Concentric().assign(tokens)
    assert torch.equal(ids[0], golden.position_ids)
    assert torch.equal(ids[0, tokens.is_vision[0]].view_as(golden.ring) - golden.prefix_len, golden.ring)
    assert torch.equal(PositionCausal().dense(tokens.at(ids))[0, 0], golden.mask)
    assert torch.equal(Concentric().following(tokens, len(golden.decode_ids))[0], golden.decode_position_ids)


def test_the_grid_of_the_paper() -> None:
    golden = load("masks", "cca_grid24")
    tokens = about_a_square(int(golden.prefix_len), 24, int(golden.suffix_len))
    ids = Concentric().assign(tokens)
    assert torch.equal(ids[0], golden.position_ids)
    assert torch.equal(ids[0, tokens.is_vision[0]].view(24, 24) - golden.prefix_len, golden.ring.long())
    assert np.array_equal(np.packbits(PositionCausal().dense(tokens.at(ids))[0, 0].numpy()), golden.mask_packed.numpy())
    assert torch.equal(Concentric().following(tokens, 3)[0], golden.decode_position_ids)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_original_s_at_prefill_and_from_the_cache(case: str) -> None:
    golden = load("masks", case)
    prompt, steps = read(golden.inputs_embeds[None], tokens_of(golden), PositionCausal(), Concentric(), golden.decode_ids)
    torch.testing.assert_close(prompt[0], golden.prefill_logits, **CLOSE)
    torch.testing.assert_close(steps, golden.decode_logits, **CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_without_the_levers_it_is_the_plain_model(case: str) -> None:
    golden = load("masks", case)
    prompt, _ = read(golden.inputs_embeds[None], tokens_of(golden), Causal(), Sequential())
    torch.testing.assert_close(prompt[0], golden.plain_causal_logits, **CLOSE)
    assert (golden.plain_causal_logits - golden.prefill_logits).abs().max() > 0.1


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("case", ["cca_batch_same_prefix", "cca_batch_diff_prefix"])
def test_a_padded_batch_is_each_sample_alone(case: str, left: bool) -> None:
    golden = load("masks", case)
    side, lengths = int(golden.grid), golden.seq_lens.tolist()
    rows = [about_a_square(prefix, side, length - prefix - side**2) for prefix, length in zip(golden.prefix_lens.tolist(), lengths, strict=True)]
    tokens = TokenMap.stack(rows, max(lengths), left=left)
    embeds = golden.inputs_embeds
    if left:
        embeds = torch.stack([each.roll(max(lengths) - length, 0) for each, length in zip(embeds, lengths, strict=True)])
    ids = Concentric().assign(tokens)
    seen = PositionCausal().dense(tokens.at(ids))
    logits, _ = read(embeds, tokens, PositionCausal(), Concentric())
    for b in (0, 1):
        real = tokens.is_real[b]
        assert torch.equal(ids[b, real], getattr(golden, f"sample{b}_position_ids"))
        assert torch.equal(seen[b, 0][real][:, real], getattr(golden, f"sample{b}_mask"))
        torch.testing.assert_close(logits[b, real], getattr(golden, f"sample{b}_logits"), **CLOSE)


def test_reverse_raster_is_the_original_s_at_prefill_and_counts_on_where_that_falls_back() -> None:
    golden = load("masks", "revraster_g4_p3_s5")
    tokens = tokens_of(golden)
    ids = ReverseRaster().assign(tokens)
    assert torch.equal(ids[0], golden.position_ids)
    assert torch.equal(PositionCausal().dense(tokens.at(ids))[0, 0], golden.mask)
    prompt, _ = read(golden.inputs_embeds[None], tokens, PositionCausal(), ReverseRaster())
    torch.testing.assert_close(prompt[0], golden.prefill_logits, **CLOSE)
    assert golden.asreleased_decode_position_ids.tolist() == [10, 11]  # the ring count of CCA, which reversed ids never had
    assert ReverseRaster().following(tokens, 2).tolist() == [[24, 25]]
