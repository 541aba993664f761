"""What the choice of patches in global-local cross-attention can change: the patches chosen, and never the class token that stands beside them."""
import torch

from mm.vision.attention import DCAL, GlobalLocal
from tests.double import close, fresh, random


def test_the_class_token_reads_the_same_whichever_patches_read_beside_it() -> None:
    model, x = fresh(GlobalLocal(8, heads=2, share=0.25)), random(2, 13, 8)
    one, other = model(x, random(2, 13, seed=1)), model(x, random(2, 13, seed=2))
    assert not torch.equal(one.chosen, other.chosen)
    close(one.tokens[:, 0], other.tokens[:, 0])


def test_the_logits_of_dcal_do_not_depend_on_its_share() -> None:
    few, all_of_them, x = fresh(DCAL(8, classes=3, heads=2, share=0.1)), fresh(DCAL(8, classes=3, heads=2, share=1.0)), random(2, 20, 8)
    for one, other in zip(few(x)[:2], all_of_them(x)[:2], strict=True):
        close(one, other)
