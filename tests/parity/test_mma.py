"""Modality-mutual attention: masks, prefill and decoding of the released AKI."""
from typing import Any

import pytest
import torch

from mm.masks import ModalityMutual
from mm.positions import Sequential
from mm.tokens import TokenMap
from tests.golden import load
from tests.parity.llama import read
from tests.toys import batch

CASES = ["mma_sft_single", "mma_sft_batch_pad", "mma_pretrain_caption", "mma_prefill_decode"]


def tokens_of(golden: Any) -> TokenMap:
    """Text through the assistant token asks, text behind it answers; where nobody is addressed, text is a caption."""
    texts = []
    for ids, real in zip(golden.lang_x.tolist(), golden.attention_mask_2d.tolist(), strict=True):
        ids = ids[:sum(real)]
        asked = ids.index(int(golden.assistant_token_id)) + 1 if int(golden.assistant_token_id) in ids else 0
        letters = ["q" if n < asked else "a" for n in range(len(ids))]
        texts.append("".join("i" * int(golden.num_vision_tokens) if id == golden.media_token_id else letter
                             for id, letter in zip(ids, letters, strict=True)))
    return batch(*texts)


@pytest.mark.parametrize("case", CASES)
def test_mask_and_logits_are_the_original_s(case: str) -> None:
    golden = load("masks", case)
    tokens = tokens_of(golden)
    seen = ModalityMutual().dense(tokens)[:, 0]
    for b, real in enumerate(tokens.is_real):
        assert torch.equal(seen[b][real][:, real], golden.mask[b, real][:, real].bool())
    logits, _ = read(golden.inputs_embeds, tokens, ModalityMutual(), Sequential())
    torch.testing.assert_close(logits[tokens.is_real], golden.logits[tokens.is_real], rtol=0, atol=2e-5)


def test_decoding_goes_on_from_the_cache_as_the_original_does() -> None:
    golden = load("masks", "mma_prefill_decode")
    tokens = tokens_of(golden)
    assert torch.equal(Sequential().following(tokens, 3)[0], golden.decode_position_ids)
    _, steps = read(golden.inputs_embeds, tokens, ModalityMutual(), Sequential(), golden.decode_ids)
    torch.testing.assert_close(steps, golden.decode_logits, rtol=0, atol=2e-5)
