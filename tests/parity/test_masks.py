"""Masks against those of the released implementations, and against the masks that transformers makes for the same models."""
import pytest
import torch
from transformers import Gemma3TextConfig, LlamaConfig
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from mm.masks import Causal, Composite, ContextBidirectional, CrocMixed, ImageBlock, Mask, Prefix
from mm.positions import Sequential
from tests.golden import load
from tests.parity.llama import read
from tests.toys import batch, row


@pytest.mark.parametrize("mask", [ContextBidirectional(), Prefix()], ids=repr)
def test_the_training_mask_of_multi_hop_questions(mask: Mask) -> None:
    golden = load("masks", "mhqa_train")
    tokens = row("".join("q" if label == -100 else "a" for label in golden.labels[0].tolist()))
    assert torch.equal(mask.dense(tokens)[0], golden.mask.bool())


@pytest.mark.parametrize("case", ["croc_b2", "croc_multiturn"])
def test_the_mask_of_croc_s_stage_of_captions(case: str) -> None:
    golden = load("masks", case)
    texts = ["".join("q" if label == -100 else "a" for label in labels[:sum(real)])
             for labels, real in zip(golden.labels.tolist(), golden.attention_mask_2d.tolist(), strict=True)]
    tokens = batch(*texts)
    seen = CrocMixed().dense(tokens)[:, 0]
    for b, real in enumerate(tokens.is_real):
        assert torch.equal(seen[b][real][:, real], golden.mask[b, :len(real)][real][:, :len(real)][:, real].bool())


def test_composite_attention_is_its_dense_reference() -> None:
    golden = load("masks", "eemllm_diag_ownref")
    tokens = row("s" * int(golden.prefix_len) + "i" * int(golden.num_vision_tokens) + "q" * int(golden.suffix_len))
    assert torch.equal(Composite().dense(tokens)[0, 0], golden.mask)
    logits, _ = read(golden.inputs_embeds[None], tokens, Composite(), Sequential())
    torch.testing.assert_close(logits[0], golden.logits, rtol=0, atol=2e-5)


@pytest.mark.parametrize("mask", [Composite(), Causal()], ids=repr)
def test_text_queries_of_a_model_without_visual_queries_see_what_they_see_in_ours(mask: Mask) -> None:
    golden = load("masks", "naevit_mask")
    start, visual = int(golden.image_start), int(golden.n_visual)
    tokens = row("s" * start + "i" * visual + "q" * (int(golden.seq_len) - start - visual))
    assert torch.equal(mask.dense(tokens)[0, :, ~tokens.is_vision[0]], golden.mask.bool())


@pytest.mark.parametrize(("mask", "blocks"), [(Prefix(), [0, 0, 0, 0, 0, 0, -1, -1]), (ImageBlock(), [-1, 0, 0, 1, 1, -1, -1, -1])],
                         ids=["PaliGemma", "Gemma 3"])
def test_prefix_and_image_blocks_are_what_transformers_makes_of_block_ids(mask: Mask, blocks: list[int]) -> None:
    """Also in sliding layers, as long as a window holds an image: then it does not matter that transformers lets a block reach over its window."""
    tokens = row("s ii jj q aa")
    given = {"inputs_embeds": torch.zeros(1, 8, 4), "attention_mask": torch.ones(1, 8, dtype=torch.bool), "past_key_values": None,
             "block_sequence_ids": torch.tensor([blocks])}
    config = LlamaConfig(attn_implementation="sdpa")
    assert torch.equal(mask.dense(tokens), create_causal_mask(config, **given))
    if isinstance(mask, ImageBlock):
        sliding = Gemma3TextConfig(attn_implementation="sdpa", sliding_window=3)
        assert torch.equal(mask.dense(tokens, window=3), create_sliding_window_causal_mask(sliding, **given))
