"""Where a few chosen rows look, while the model runs: weights of these rows only, never Q x N."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mm.attention.active import Active, Grouping
from mm.attention.call import Call
from mm.attention.reference import scores
from mm.attention.visibility import Visibility


def row_weights(q: Tensor, k: Tensor, mask: Tensor | None, scale: float | None = None) -> Tensor:
    """Attention weights [B, H, R, N] of the rows q [B, H, R, D] over k [B, Hk, N, D], float32; mask: bool. Rows that see nothing are 0."""
    logits = scores(q.detach(), k.detach(), scale)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    return logits.softmax(-1).nan_to_num(0.0)


@dataclass(eq=False)
class Recorder:
    """Keeps the weights of chosen rows, per forward pass and layer.

    layers: only these, all if None. rows: absolute indices of the prompt's rows to keep, [R] or [B, R]; the last row of each pass if None, which with
    left padding is the row that predicts the next token. Decoding steps keep their one row.
    groups: [B, N] group of each prompt token; weights are then kept as masses [B, H, R, group_count], and decoded tokens count as `decoded_group`.

    steps: for each forward pass {layer: weights [B, H, R, N] or masses [B, H, R, G]}, on the CPU in float32. Step 0 is the prefill; the row of step t
    predicts answer token t. With beams, B counts them.
    """

    layers: Iterable[int] | None = None
    rows: Tensor | None = None
    groups: Tensor | None = None
    group_count: int = 0
    decoded_group: int = 0
    steps: list[dict[int, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers = None if self.layers is None else frozenset(self.layers)
        if self.groups is not None and self.group_count <= 0:
            self.group_count = max(int(self.groups.max()), self.decoded_group) + 1

    @property
    def grouping(self) -> Grouping | None:
        """Finds the groups that `watch` gets, when the prompt is read, in every layer; None where none are wanted."""
        return None

    def watch(self, layer: int, call: Call, active: Sequence[Active], groups: Tensor | None) -> None:
        """One layer's attention of one pass, the rules that act in it, and the groups of `grouping`."""
        self.record(layer, call.q, call.k, call.mask, call.causal, call.scale)

    @torch.no_grad()
    def record(self, layer: int, q: Tensor, k: Tensor, mask: Tensor | Visibility | None, causal: bool, scale: float | None) -> None:
        """One layer's attention of one pass. q: [B, H, Q, D]; k: [B, Hk, N, D], all keys so far; mask: bool or None; causal: bottom-right aligned."""
        if not self.begins(layer):
            return
        index = self.rows_of(q, k)
        batch, heads, _, width = q.shape
        few = q.gather(2, index[:, None, :, None].expand(batch, heads, -1, width))
        weights = row_weights(few, k, visible_rows(mask, index, q, k, causal), scale)
        self.steps[-1][layer] = (weights if self.groups is None else self._masses(weights)).float().cpu()

    def begins(self, layer: int) -> bool:
        """Notes that `layer` comes now, in a new pass if it has been there; is it to be kept?"""
        if not self.steps or layer in self.steps[-1] or (self.steps[-1] and layer < max(self.steps[-1])):
            self.steps.append({})  # layers run in order, so a layer that comes again begins a new pass
        return self.layers is None or layer in self.layers

    def rows_of(self, q: Tensor, k: Tensor) -> Tensor:
        """Rows of this pass to keep, [B, R], counted from its first."""
        batch, queries = q.shape[0], q.shape[2]
        last = torch.full((batch, 1), queries - 1, device=q.device)
        if self.rows is None or queries == 1:
            return last
        rows = self.rows.to(q.device).expand(self.rows.shape[0] if self.rows.dim() == 2 else batch, -1)
        rows = rows.repeat_interleave(batch // rows.shape[0], 0) - (k.shape[2] - queries)
        if bool(((rows < 0) | (rows >= queries)).any()):
            raise ValueError(f"the recorder's rows reach to {int(self.rows.max())}, and this pass reads {queries} tokens that end at {k.shape[2]}; "
                             "give indices within the prompt, padding counted")
        return rows

    def _masses(self, weights: Tensor) -> Tensor:
        assert self.groups is not None
        batch, heads, rows, keys = weights.shape
        groups = self.groups.to(weights.device)
        groups = groups.repeat_interleave(batch // groups.shape[0], 0)
        later = max(keys - groups.shape[1], 0)
        groups = torch.nn.functional.pad(groups, (0, later), value=self.decoded_group)[:, None, None, :keys].expand(batch, heads, rows, keys)
        return weights.new_zeros(batch, heads, rows, self.group_count).scatter_add(-1, groups, weights)


def visible_rows(mask: Tensor | Visibility | None, index: Tensor, q: Tensor, k: Tensor, causal: bool) -> Tensor | None:
    """What the rows `index` [B, R] of this pass may see, bool [B, 1 or H, R, N]; None if everything."""
    visible = None
    if isinstance(mask, Visibility):
        rows, place = index.unique(return_inverse=True)
        dense = torch.cat([mask.dense(slice(row, row + 1)) for row in rows.tolist()], 2)
        visible = dense.gather(2, place[:, None, :, None].expand(-1, 1, -1, k.shape[2]))
    elif mask is not None:
        mask = mask.expand(q.shape[0], -1, q.shape[2], k.shape[2])
        visible = mask.gather(2, index[:, None, :, None].expand(-1, mask.shape[1], -1, k.shape[2]))
    if causal:
        end = index + (k.shape[2] - q.shape[2])
        ahead = torch.arange(k.shape[2], device=q.device) <= end[:, None, :, None]
        visible = ahead if visible is None else visible & ahead
    return visible
