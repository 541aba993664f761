"""Masks against those of the released implementations."""
import torch

from mm.masks import Prefix
from tests.golden import load
from tests.toys import row


def test_prefix_is_the_context_bidirectional_training_mask() -> None:
    golden = load("masks", "mhqa_train")
    tokens = row("".join("q" if label == -100 else "a" for label in golden.labels[0].tolist()))
    assert torch.equal(Prefix().dense(tokens)[0], golden.mask.bool())
