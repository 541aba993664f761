"""Where words are looked at: their columns of every cross-attention map, without the map; the columns of Tang et al., "What the DAAM", ACL 2023."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mm.diffusion.custom.cross import CrossAttention


class WordMaps:
    """A listener that leaves outputs as they are and keeps, of each cross-attention, the mass of some words.

    words: keys of each word. The mass on a set of keys is attention over values that are 1 there and 0 elsewhere, so any kernel gives it, one channel
    a word. maps: of each call since `clear`, [B, words, h, w] float32, mean over heads and sum over the word's keys. rest: hear nothing meanwhile.
    """

    def __init__(self, words: Sequence[Sequence[int]]) -> None:
        self.words = [list(keys) for keys in words]
        self.maps: list[Tensor] = []
        self.rest = False

    def __call__(self, call: CrossAttention, out: Tensor) -> Tensor:
        if self.rest:
            return out
        batch, heads, count, _ = call.call.k.shape
        marks = torch.zeros(count, len(self.words), device=out.device, dtype=call.call.k.dtype)
        for channel, keys in enumerate(self.words):
            marks[keys, channel] = 1
        masses = call.over(marks.expand(batch, heads, -1, -1))
        self.maps.append(masses.float().mean(1).transpose(1, 2).unflatten(2, call.size))
        return out

    def of(self, word: int) -> list[Tensor]:
        """[B, h, w] of each layer, in order of execution."""
        return [each[:, word] for each in self.maps]

    def clear(self) -> None:
        self.maps.clear()
