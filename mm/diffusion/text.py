"""What a diffusion model reads of a prompt."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Text:
    """Embeddings of B prompts.

    tokens [B, L, D]: one vector a token, what cross-attention and joint attention read. pooled [B, E]: one vector a prompt, where the model has one
    (SDXL, SD3, Flux). mask [B, L]: 1 at tokens, 0 at padding, where the model hides padding (PixArt, Sana).
    """

    tokens: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, which: slice | Sequence[int]) -> Text:
        """Some of the prompts."""
        index = which if isinstance(which, slice) else list(which)
        return Text(*(None if part is None else part[index] for part in (self.tokens, self.pooled, self.mask)))  # type: ignore[arg-type]

    def with_tokens(self, tokens: Tensor) -> Text:
        """The same with other tokens; what is pooled and what is padding stay."""
        return replace(self, tokens=tokens)

    def as_many_as(self, count: int) -> Text:
        """One prompt for `count` pictures, or B for B; ValueError otherwise."""
        if len(self) == count:
            return self
        if len(self) == 1:
            return self.rows([0] * count)
        raise ValueError(f"Text: {len(self)} prompts for {count} pictures; give one prompt for all of them, or one each.")

    def fits(self, other: Text) -> bool:
        """Whether both can stand in one batch: as many tokens each."""
        return self.tokens.shape[1:] == other.tokens.shape[1:]


def beside(first: Text, second: Text) -> Text:
    """The prompts of both, one after the other."""
    def joined(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        return None if a is None or b is None else torch.cat([a, b.to(a.dtype)])

    return Text(torch.cat([first.tokens, second.tokens.to(first.tokens.dtype)]), joined(first.pooled, second.pooled), joined(first.mask, second.mask))
