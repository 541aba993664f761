"""Trainable dynamic mask attention (DMA): Shi et al., "Trainable Dynamic Mask Sparse Attention", 2025; bias and selection as in the released code.

Each key says by its value how much it wants to be read, one number for each head of keys. The number is added to its scores, and a row sees only the
keys that want it most.
"""
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm.reweight.base import KeyChoice
from mm.tokens import TokenMap

SLACK = 1e-4  # In a first layer equal tokens have equal values, wherever they stand; how a batch is laid out must not decide which of them is kept.
Form = Literal["per_query", "keys"]


class DMA(nn.Module, KeyChoice):
    """bias = strength * softplus(gate · values of all heads), and of the keys that a row sees the `window` with the largest bias.

    Args:
        window: keys that a row is left with; shorter rows lose none.
        block: keys are kept or dropped by blocks of this many, counted along a document: those of which more than half would be kept. None: each.
        form: "per_query", among the keys that each row sees, so that decoding is a row of the whole. "keys", as released: one choice over the whole
            row, future keys included, for parity only; a row may then see nothing and gives 0, and packed or branched rows are refused.
        first_layer, last_layer: inclusive, negative ones from the end.

    strength: [layers, Hk], 0 at first, which is the plain model: keys of equal bias stay or go together. gate: [layers, Hk, Hk * D]. Both are there
    once `measure` has told how many heads of keys there are. The paper's text has exp(strength * softplus(...)), the release not. Selection has no
    gradient, the bias of what is kept does. A majority of each block can fail everywhere; then the block of the largest bias stays (our choice).
    """

    strength: nn.Parameter | None
    gate: nn.Parameter | None

    def __init__(self, window: int = 2048, block: int | None = None, form: Form = "per_query", first_layer: int = 0, last_layer: int = -1) -> None:
        super().__init__()
        if window < 1 or (block is not None and block < 1):
            raise ValueError(f"DMA: window and block are numbers of keys, at least 1; got {window} and {block}")
        if form not in get_args(Form):
            raise ValueError(f"DMA: form is one of {', '.join(get_args(Form))}; got {form!r}")
        self.window = window
        self.block = block
        self.form = form
        self.shares_rows = form == "per_query"
        self.wants_whole = form != "per_query"
        self.first_layer = first_layer
        self.last_layer = last_layer
        self.register_parameter("strength", None)
        self.register_parameter("gate", None)

    def measure(self, key_heads: int, width: int) -> None:
        assert self.depth is not None, "measure comes after bind"
        shape = self.depth, key_heads, key_heads * width
        if self.gate is None:
            self.strength = nn.Parameter(torch.zeros(shape[:2]))
            self.gate = nn.Parameter(torch.randn(shape) * shape[2] ** -0.5)
        elif self.gate.shape != shape:
            raise ValueError(f"DMA: its parameters are for [layers, heads of keys, their widths together] = {list(self.gate.shape)}, and the model "
                             f"has {list(shape)}; make one for this model")

    @property
    def is_neutral(self) -> bool:
        if self.strength is None:
            raise ValueError("DMA does not know the model's heads; call bind(layers, heads) and measure(key_heads, width), or give it to mm.VLM or "
                             "mm.steer")
        learns = torch.is_grad_enabled() and self.strength.requires_grad
        return not learns and not bool(self.strength.any())

    def __repr__(self) -> str:
        return KeyChoice.__repr__(self)

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> None:
        """None: it has no groups. ValueError for rows that the form cannot tell apart."""
        if self.form == "keys" and bool(((tokens.document > 0) | (tokens.branch > 0)).any()):
            raise ValueError("DMA(form='keys') chooses keys of the whole row, and a row holds several documents or branches; use form='per_query'")

    def bias(self, layer: int, values: Tensor) -> Tensor:
        assert self.strength is not None
        assert self.gate is not None
        width = values.shape[1] * values.shape[3]
        if width != self.gate.shape[2]:
            raise ValueError(f"DMA: in layer {layer} the values of all heads are {width} numbers wide, and its gate {self.gate.shape[2]}; leave such "
                             "layers out with first_layer and last_layer")
        precise = torch.promote_types(values.dtype, torch.float32)
        with torch.autocast(values.device.type, enabled=False):
            wanted = F.softplus(values.transpose(1, 2).flatten(2).to(precise) @ self.gate[layer].to(values.device, precise).T)
            return (wanted * self.strength[layer].to(wanted)).transpose(1, 2)

    def chooses(self, keys: int) -> bool:
        return keys > self.window

    def chosen(self, bias: Tensor, seen: Tensor, keys: TokenMap) -> Tensor:
        count = seen.shape[-1]
        if self.form == "keys":
            real = keys.is_real[:, None, None]
            return self._kept(bias.unsqueeze(2), real, keys)[..., :count] & seen
        return self._kept(bias[..., :count].unsqueeze(2), seen, keys[:, :count])

    def _kept(self, bias: Tensor, seen: Tensor, keys: TokenMap) -> Tensor:
        """bool [B, X, q, n], from bias [B, X, 1, n] and seen [B or 1, 1 or X, q, n]."""
        wanted = bias.masked_fill(~seen, -torch.inf)
        kept = strongest(wanted, self.window) & seen
        return kept if self.block is None else by_majority(kept, seen, wanted, keys.depth // self.block)


def strongest(wanted: Tensor, count: int) -> Tensor:
    """bool [..., n]: the `count` largest of each row, and those that equal the last of them but for rounding."""
    if wanted.shape[-1] <= count:
        return torch.ones_like(wanted, dtype=torch.bool)
    least = wanted.topk(count, -1).values[..., -1:]
    return wanted >= least - SLACK * least.abs()


def by_majority(kept: Tensor, seen: Tensor, wanted: Tensor, block: Tensor) -> Tensor:
    """bool [B, X, q, n]: keys seen in blocks of which more than half of the keys seen are kept, or else in the block of the one most wanted.

    block: long [B, n], the block of each key.
    """
    place = block[:, None, None].expand(kept.shape)
    none = torch.zeros(*kept.shape[:-1], int(block.max()) + 1, dtype=torch.int32, device=kept.device)
    many, whole = none.scatter_add(-1, place, kept.int()), none.scatter_add(-1, place, seen.expand_as(kept).int())
    stays = 2 * many > whole
    best = place.gather(-1, wanted.argmax(-1, keepdim=True))
    stays = stays | (~stays.any(-1, keepdim=True) & torch.zeros_like(stays).scatter(-1, best, True))
    return stays.gather(-1, place) & seen
