"""Background leakage: Wang et al., "Dynamic Prompt Learning: Addressing Cross-Attention Leakage for Text-Based Image Editing", NeurIPS 2023."""
from torch import Tensor

from mm.diffusion.leakage.nouns import Columns, cosine, of_nouns


def background_leakage(maps: Tensor, nouns: Columns, background: Tensor) -> Tensor:
    """[...]: mean cosine similarity of the nouns' attention and the background, for maps [..., H, W, K] and a mask [H, W] of 0 and 1.

    0 where nothing is background.
    """
    words = of_nouns(maps, nouns)
    if background.shape != words.shape[-2:]:
        raise ValueError(f"a background of {list(background.shape)} for maps of {list(words.shape[-2:])} pixels; expected the same")
    return cosine(words, background.to(words).expand_as(words)).mean(-1)
