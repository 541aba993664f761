"""DAAM: Tang et al., "What the DAAM: Interpreting Stable Diffusion Using Cross Attention", ACL 2023: heat maps of words.

Sum over steps, layers and heads of a word's column, brought to one size by bicubic interpolation, cut off below at zero. Described from memory; the
original was not run against it.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from mm.diffusion.recorder import Recorder


def heat(recorder: Recorder, prompt: int, word: int, size: tuple[int, int], image: int = 0) -> Tensor:
    """[height, width] of `size`, scaled so that its largest value is 1; all 0 if the word got nothing.

    prompt, word, image: of the recorder: the prompt, the index of the word among those recorded of it, and the picture.
    """
    layers = []
    for columns in recorder.maps(prompt, image).values():
        if not 0 <= word < columns.shape[-1]:
            raise ValueError(f"prompt {prompt} has {columns.shape[-1]} recorded words, counted from 0; got {word}")
        layers.append(F.interpolate(columns[None, None, ..., word], size=size, mode="bicubic")[0, 0].clamp(min=0))
    total = torch.stack(layers).sum(0)
    peak = total.max()
    return total / peak if peak > 0 else total


def region(heated: Tensor, threshold: float = 0.4) -> Tensor:
    """bool [height, width]: where the heat is above a share of its peak; 0.4 from memory of the paper."""
    return heated > threshold * heated.max()
