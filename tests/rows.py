"""Rows of tokens long enough to be cut into blocks, rows that no collator would make, and calls over them."""
from typing import Any

import torch

from mm.attention import Visibility
from mm.masks import Mask
from mm.tokens import Kind, TokenMap
from tests.toys import batch


def long_rows(seed: int = 0, rows: int = 2, documents: int = 3, branches: bool = True, left: bool = False) -> TokenMap:
    """Packed rows of about 130 tokens a document, with images, dialogue turns and, every second time, branches; padded to the longest."""
    generator = torch.Generator().manual_seed(seed)

    def some(letter: str, low: int, high: int) -> str:
        return letter * int(torch.randint(low, high + 1, (), generator=generator))

    def document() -> str:
        trunk = some("s", 0, 9) + some("i", 20, 60) + some("q", 3, 9) + some("j", 20, 60)
        if branches and some("x", 0, 1):
            return trunk + "".join(f"{b}{some('q', 5, 20)}{some('a', 5, 20)}" for b in (1, 2))
        return trunk + some("q", 5, 20) + some("a", 5, 20) + some("q", 0, 9) + some("a", 1, 9)

    return batch(*("/".join(document() for _ in range(documents)) for _ in range(rows)), left=left)


def wild_rows(seed: int = 0, length: int = 37) -> TokenMap:
    """Tables without sense: whatever holds of them holds of every map. Only padding is what it is everywhere."""
    generator = torch.Generator().manual_seed(seed)
    runs = torch.randint(1, 9, (), generator=generator).item()  # entries come in runs, else no block would be of one kind

    def table(low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high + 1, (2, -(-length // runs)), generator=generator).repeat_interleave(runs, 1)[:, :length]

    kind = table(0, 3)
    pad = kind == Kind.PAD
    tables = {name: table(-1, 2) for name in ("document", "media", "frame", "row", "col", "turn")}
    return TokenMap(**tables | {"kind": kind, "document": tables["document"].abs().masked_fill(pad, -1), "branch": table(0, 2), "role": table(0, 3),
                                "position": table(0, 30)}, index=torch.arange(length).expand(2, length))


def end_to_end(tokens: TokenMap, times: int) -> TokenMap:
    """Each row `times` times behind itself, as more documents of one row."""
    documents = int(tokens.document.max()) + 1

    def more(name: str, table: torch.Tensor) -> torch.Tensor:
        copies = [table + (table >= 0) * copy * documents if name == "document" else table for copy in range(times)]
        return torch.cat(copies, 1)

    tables = {name: more(name, table) for name, table in tokens.__dict__.items()}
    return TokenMap(**tables | {"index": torch.arange(tables["kind"].shape[1]).expand_as(tables["kind"])})


def over(mask: Mask, tokens: TokenMap, queries: slice | None = None, keys: slice | None = None, **call: Any) -> Visibility:
    """Who sees whom in a call over all tokens, or over a part of them."""
    whole = slice(0, tokens.shape[1])
    return Visibility(mask, tokens, queries or whole, keys or whole, **call)
