"""Dynamic tokens: Wang et al., "Dynamic Prompt Learning: Addressing Cross-Attention Leakage for Text-Based Image Editing", NeurIPS 2023.

Some words of a prompt get embeddings of their own. They stand in for what the text encoder's table says, where the prompt's words are looked up.
"""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """A prompt in which rows stand: ids [L] of its tokens, and which row stands at each, slots [L], -1 for none."""

    ids: Tensor
    slots: Tensor


class DynamicTokens(nn.Module):
    """Rows in place of an encoder's table for the nouns of a prompt; they start as the table's.

    Args:
        encoder: a text encoder of transformers, whose `get_input_embeddings()` is looked up by ids.
        ids: the prompt's tokens, the start and end tokens included, without padding.
        nouns: for each noun, where its tokens stand in `ids`.

    Every token of a noun has a row, so a noun of several tokens has several (the original takes one token). Equal tokens of one noun share one,
    so that a noun that stands twice in the prompt is the same noun; equal tokens of different nouns do not.

    The original adds words to the vocabulary and trains the whole table, putting back all other rows after each update. What it keeps of that is what
    is trained here: rows [R, d], in float32 at least, and no optimiser's state for a table.
    """

    def __init__(self, encoder: nn.Module, ids: Sequence[int], nouns: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.nouns = len(nouns)
        self.keys = list(dict.fromkeys((noun, ids[place]) for noun, places in enumerate(nouns) for place in places if 0 <= place < len(ids)))
        if any(not places for places in nouns) or not nouns:
            raise ValueError(f"nouns stand at {[list(places) for places in nouns]}; name at least one, and at least one token of each")
        weight = table(encoder).weight.detach()
        self.rows = nn.Parameter(weight[[token for _, token in self.keys]].to(torch.promote_types(weight.dtype, torch.float32)).clone())
        self.layouts: list[Layout] = []
        self.read_in(ids, nouns)

    def read_in(self, ids: Sequence[int], nouns: Sequence[Sequence[int]]) -> None:
        """Lets the rows stand in one more prompt, where the nouns' tokens are at other places; () for a noun that this prompt does not have."""
        if len(nouns) != self.nouns:
            raise ValueError(f"places of {len(nouns)} nouns; expected {self.nouns}, with () for one that the prompt does not have")
        slots = [-1] * len(ids)
        for noun, places in enumerate(nouns):
            for place in places:
                if not 0 <= place < len(ids) or slots[place] >= 0:
                    raise ValueError(f"noun {noun} stands at {list(places)}, in a prompt of {len(ids)} tokens; expected places within it that no "
                                     "other noun has")
                if (noun, ids[place]) not in self.keys:
                    raise ValueError(f"noun {noun} has no token {ids[place]}, which stands at {place}; a noun is spelt alike in all prompts")
                slots[place] = self.keys.index((noun, ids[place]))
        self.layouts.append(Layout(torch.tensor(ids, device=self.rows.device), torch.tensor(slots, device=self.rows.device)))

    @contextmanager
    def inserted(self, encoder: nn.Module) -> Iterator[None]:
        """While it lasts, the encoder reads the rows in these prompts, padded or not, and everything else as ever."""
        weight = table(encoder).weight
        tied = [module for module in encoder.modules() if isinstance(module, nn.Embedding) and module.weight is weight]  # T5 has it twice
        handles = [module.register_forward_hook(self._insert) for module in tied]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _insert(self, module: nn.Module, looked_up: tuple[Any, ...], found: Tensor) -> Tensor:
        """found [B, L, d]: what the table says of ids [B, L]."""
        ids: Tensor = looked_up[0]
        for layout in self.layouts:
            length = len(layout.ids)
            if ids.shape[-1] < length:
                continue
            mine = (ids[:, :length] == layout.ids).all(1)
            if not bool(mine.any()):
                continue
            standing = mine[:, None, None] & (layout.slots >= 0)[:, None]
            changed = torch.where(standing, self.rows.to(found.dtype)[layout.slots.clamp(min=0)], found[:, :length])
            found = torch.cat([changed, found[:, length:]], 1)
        return found


def table(encoder: nn.Module) -> nn.Embedding:
    """Where a text encoder of transformers looks tokens up."""
    return encoder.get_input_embeddings()  # type: ignore[operator, no-any-return]
