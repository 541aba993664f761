"""Edits on the maps themselves, written out over a whole denoiser: what the fused form must equal."""
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mm.diffusion.columns import NEUTRAL, Columns
from tests.denoisers import WORDS, Toy


@dataclass(frozen=True)
class MapEdit:
    """Of one row: its source, its words' columns, and what its picture takes from the source's queries, keys and values."""

    row: int
    source: int
    columns: Columns = NEUTRAL
    takes: frozenset[str] = frozenset()


class MapForm(TorchFunctionMode):
    """Takes every attention of a toy as maps. text_first: order of the tokens where text and picture share a softmax."""

    def __init__(self, edits: list[MapEdit], text_first: bool) -> None:
        super().__init__()
        self.edits, self.text_first = edits, text_first
        self.words: list[tuple[list[Tensor], list[Tensor]]] = []  # text columns of each row's picture, edited and raw
        self.selves: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return self.attention(*args, **(kwargs or {}))

    def attention(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: Any) -> Tensor:
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        bias = torch.zeros_like(scores)
        if attn_mask is not None:
            bias = bias.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else bias + attn_mask
        maps = (scores + bias).softmax(-1)
        outs = list(maps @ value)
        joint = key.shape[2] in (WORDS + 24, WORDS + 20)
        text = slice(0, 0) if not joint else slice(0, WORDS) if self.text_first else slice(-WORDS, None)
        picture = torch.ones(key.shape[2], dtype=torch.bool)
        picture[text] = False
        if key.shape[2] == WORDS:
            self.words.append((list(maps), list(maps)))
        elif joint:
            self.words.append((list(maps[:, :, picture][..., text]), list(maps[:, :, picture][..., text])))
        else:
            self.selves.append(maps)
        for edit in self.edits:
            own, source = edit.row, edit.source
            q, k, v = query[own], key[own], value[own]
            if key.shape[2] == WORDS:
                changed = edit.columns.on_maps(maps[source], maps[own])
                outs[own] = changed @ v
                self.words[-1][0][own] = changed
                continue
            v = torch.where(picture[:, None], value[source], v) if "v" in edit.takes else v
            block = {"q", "k"} <= edit.takes
            if not block:
                q = torch.where(picture[:, None], query[source], q) if "q" in edit.takes else q
                k = torch.where(picture[:, None], key[source], k) if "k" in edit.takes else k
            mine = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias[own]).softmax(-1)
            words = edit.columns.own if edit.columns.own is not None else torch.ones(WORDS, dtype=q.dtype)
            mixing = edit.columns.source if edit.columns.source is not None else torch.zeros(WORDS, WORDS, dtype=q.dtype)
            changed = mine.clone()
            if block:
                changed[..., picture] = maps[source][..., picture]
            if joint:
                changed[..., text] = maps[source][..., text] @ mixing + mine[..., text] * words
                if edit.columns.normalised:
                    changed = changed / changed.sum(-1, keepdim=True)
                self.words[-1][0][own] = changed[:, picture][..., text]
            outs[own] = torch.where(picture[:, None], changed @ v, maps[own] @ value[own])
        return torch.stack(outs)


def map_form(toy: Toy, edits: list[MapEdit], text_first: bool = False) -> Tensor:
    with MapForm(edits, text_first):
        return toy()
