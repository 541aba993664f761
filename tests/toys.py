"""Small random things that many tests share: attention inputs, token maps written as strings, decoders that fit in a few kilobytes."""
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mm.tokens import Kind, Role, TokenMap

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VOCABULARY = 48
FAMILIES = ("llama", "qwen3", "gemma3_text")
STATIC: dict[str, Any] = {"cache_implementation": "static", "disable_compile": True}  # settings of `generate`


def random_qkv(seed: int = 0, *, batch: int = 2, heads: int = 4, key_heads: int = 2, queries: int = 7, keys: int = 7, width: int = 8,
               value_width: int | None = None, dtype: torch.dtype = torch.float64, grad: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, H, Q, D], k [B, Hk, N, D], v [B, Hk, N, Dv]."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)

    return draw(batch, heads, queries, width), draw(batch, key_heads, keys, width), draw(batch, key_heads, keys, value_width or width)


def random_mask(seed: int, *shape: int, empty: bool = False) -> Tensor:
    """bool mask with about half of its entries True; `empty` blinds some rows wholly, otherwise each row sees something."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(*shape, generator=generator) > 0.5
    if empty:
        return mask & (torch.rand(*shape[:-1], 1, generator=generator) > 0.3)
    mask[..., 0] |= ~mask.any(-1)
    return mask


def row(text: str, cols: int | None = None) -> TokenMap:
    """One row [1, N] written as a string, a letter a token.

    s system, q question, a answer, i and j the tokens of a first and second image, . padding; `/` begins another document, a digit that branch (0 is
    the trunk). A question or image after an answer begins the next turn. Spaces are for the reader. `row("s iiii q 1 qa 2 qa")`
    cols: width of the images; by default two tokens where their number is even, else all in one row.
    """
    table: dict[str, list[int]] = {name: [] for name in ("kind", "document", "branch", "media", "frame", "row", "col", "role", "turn", "position")}
    document = branch = turn = position = 0
    last = ""
    for letter in text.replace(" ", ""):
        if letter == "/":
            document, branch, turn, position, last = document + 1, 0, 0, 0, ""
            continue
        if letter.isdigit():
            branch, turn, last = int(letter), 0, ""
            continue
        pad, image = letter == ".", letter in "ij"
        turn += letter in "qij" and last == "a"
        last = letter
        count = sum(kind == Kind.VISION and media == "ij".find(letter) and owner == document
                    for kind, media, owner in zip(table["kind"], table["media"], table["document"], strict=True))
        for name, value in {
                "kind": Kind.PAD if pad else Kind.VISION if image else Kind.TEXT, "document": -1 if pad else document, "branch": 0 if pad else branch,
                "media": "ij".find(letter), "frame": 0 if image else -1, "row": -1, "col": count if image else -1,
                "role": {".": Role.PAD, "s": Role.SYSTEM, "a": Role.ANSWER}.get(letter, Role.QUESTION), "turn": -1 if letter in ".s" else turn,
                "position": 0 if pad else position}.items():
            table[name].append(int(value))
        position += not pad
    tensors = {name: torch.tensor([values]) for name, values in table.items()}
    place = tensors["col"]
    for owner in range(document + 1):
        for media in (0, 1):
            mine = (tensors["document"] == owner) & (tensors["media"] == media)
            width = cols or (2 if int(mine.sum()) % 2 == 0 else int(mine.sum()))
            tensors["row"][mine], tensors["col"][mine] = place[mine] // width, place[mine] % width
    return TokenMap(**tensors, index=torch.arange(len(table["kind"]))[None])


def batch(*texts: str, left: bool = False) -> TokenMap:
    """Rows of `row`, padded to the longest."""
    rows = [row(text) for text in texts]
    return TokenMap.stack(rows, max(tokens.shape[1] for tokens in rows), left=left)


def random_tokens(seed: int = 0, rows: int = 2) -> TokenMap:
    """Packed, branched, padded rows of two to three documents each."""
    generator = torch.Generator().manual_seed(seed)

    def some(letter: str, low: int, high: int) -> str:
        return letter * int(torch.randint(low, high + 1, (), generator=generator))

    def document() -> str:
        trunk = some("s", 0, 2) + some("i", 2, 4) + some("q", 0, 1) + some("j", 0, 2)
        branches = [f"{b}{some('q', 1, 3)}{some('a', 1, 2)}" for b in range(1, 1 + len(some("x", 0, 3)))]
        return trunk + ("".join(branches) or some("q", 1, 2) + some("a", 1, 3) + some("q", 0, 2) + some("a", 0, 1))

    return batch(*("/".join(document() for _ in some("d", 2, 3)) for _ in range(rows)))


def paths(tokens: TokenMap) -> Iterator[tuple[int, Tensor]]:
    """Each way through each document: its row, and bool [N], the tokens of the trunk and of one branch, or of all where there are no branches."""
    for b in range(tokens.shape[0]):
        for document in range(int(tokens.document[b].max()) + 1):
            mine = tokens.document[b] == document
            count = int(tokens.branch[b][mine].max())
            for branch in range(1, count + 1) if count else (0,):
                yield b, mine & ((tokens.branch[b] == 0) | (tokens.branch[b] == branch))


def alone(tokens: TokenMap, path: Tensor) -> TokenMap:
    """The tokens of one path as a row of their own. tokens: one row."""
    own = tokens[:, path]
    zero = torch.zeros_like(own.document)
    return TokenMap(**{**own.__dict__, "document": zero, "branch": zero, "index": torch.arange(own.shape[1])[None]})


def ids_for(tokens: TokenMap, seed: int = 0) -> Tensor:
    """Random ids, 0 where a row is padded."""
    return torch.randint(2, VOCABULARY, tokens.shape, generator=torch.Generator().manual_seed(seed)) * tokens.is_real


def tiny(family: str = "llama", *, implementation: str = "sdpa", seed: int = 0, **overrides: Any) -> "PreTrainedModel":
    """A decoder of that family with fresh weights, in float32 and evaluation mode. Gemma 3's odd layers slide over a window of 4."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
    if family == "gemma3_text":
        settings |= {"sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"], "query_pre_attn_scalar": 8}
    config = AutoConfig.for_model(family, **settings | overrides)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # fresh weights are so small that attention is nearly uniform; tests want it to matter
            if parameter.dim() == 2:
                parameter.mul_(8)
    return model
