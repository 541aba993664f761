"""How much attention falls on text, on sinks and on the image, layer by layer, and what rules make of it: Kang et al., "See What You Are Told: Visual
Attention Sink in Large Multimodal Models" (VAR), ICLR 2025, section 3.

The mass of a group of keys in a row is what attention gives for values that say which group a key is in. So masses before and after any rules, those
that bend single scores included, come from the engine that runs the rules, for the recorded rows only and without the N x N matrix.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mm.analysis.answer import last_answer
from mm.attention import Active, Call, Plan, Recorder, activated, repeat_heads
from mm.attention.active import bends_rows, moves_mass, union_rows
from mm.attention.cells import Cells
from mm.attention.engine import hull
from mm.attention.rows import windows, written_out
from mm.models import VLM
from mm.models.modes import evaluating
from mm.sample import Sample
from mm.tokens import TokenMap


class Partition(Protocol):
    """What tells keys apart in every layer; each `mm.reweight.Reweight` does."""

    @property
    def needs(self) -> frozenset[Literal["hidden", "columns"]]: ...

    @property
    def decoded_group(self) -> int: ...

    @property
    def group_count(self) -> int: ...

    def watched_groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Watched:
    """A partition, as what acts in a layer is asked for its groups."""

    partition: Partition

    @property
    def needs(self) -> frozenset[Literal["hidden", "columns"]]:
        return self.partition.needs

    @property
    def decoded_group(self) -> int:
        return self.partition.decoded_group

    @property
    def is_neutral(self) -> bool:
        return True

    def head_mask(self, layer: int, heads: int) -> None:
        return None

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        return self.partition.watched_groups(tokens, layer, hidden, columns)


class Masses(Recorder):
    """Keeps the masses of groups in chosen rows, before and after the rules that act; for `mm.steer(model, ..., recorder=Masses(...))`.

    Args:
        partition: what tells the groups apart in each layer, when the prompt is read. A rule does, whether it acts or not: `VAR()` for text, text
            sink, visual sink and visual rest.
        layers: only these, all if None. rows: indices of the prompt's rows, [R] or [B, R], padding counted; the last one of each pass if None, which
            predicts the next token.

    steps: for each forward pass {layer: masses [2, B, H, R, groups]}, float32, on the CPU: before, the layer's weights without rules on the same
    input, which rules of earlier layers may have changed; and after. Each row sums to 1.
    """

    def __init__(self, partition: Partition, layers: Sequence[int] | None = None, rows: Tensor | None = None) -> None:
        super().__init__(layers, rows)
        self.partition = partition

    @property
    def grouping(self) -> Watched:
        return Watched(self.partition)

    @torch.no_grad()
    def watch(self, layer: int, call: Call, active: Sequence[Active], groups: Tensor | None) -> None:
        if not self.begins(layer):
            return
        with torch.autocast(call.q.device.type, enabled=False):
            self.steps[-1][layer] = group_masses(call, active, self.partition, groups, self.rows_of(call.q, call.k)).float().cpu()

    def table(self, step: int = 0) -> Tensor:
        """Masses of one pass, [2, layers, B, H, R, groups]. ValueError where nothing was recorded."""
        if not self.steps:
            raise ValueError("nothing was recorded: let the model read something within mm.steer(model, recorder=...)")
        return torch.stack([self.steps[step][layer] for layer in sorted(self.steps[step])], 1)


def group_masses(call: Call, active: Sequence[Active], partition: Partition, groups: Tensor | None, rows: Tensor) -> Tensor:
    """Masses [2, B, H, R, G] of the groups [B, P] or [B, H, P] of the prompt's keys, without and with the rules in `active`.

    rows: [B, R], counted from the call's first.
    """
    ids = Active(Watched(partition), groups).key_groups(call.tokens.shape[1], call.keys)
    k = call.k.detach() if ids.shape[1] == 1 else repeat_heads(call.k.detach(), call.shared)
    member = one_hot(ids, partition.group_count).to(call.precision).expand(-1, k.shape[1], -1, -1)
    seen = replace(call, q=call.q.detach(), k=k, v=member)
    chosen = torch.zeros(call.queries, dtype=torch.bool, device=rows.device)
    chosen[rows.flatten()] = True
    acting = [one for one in active if one.acts]
    where = windows(chosen, call.q, call.keys)
    if together := [one for one in acting if bends_rows(one.rule) and one.rule.together]:
        where = hull(chosen | union_rows(together, call.queries).to(chosen.device))  # such a rule wants all of its rows at once
        chosen[where[0]] = True
    movers = [one for one in acting if moves_mass(one.rule)]
    cells = Cells(movers, call.tokens.shape[1], call.keys) if movers else None
    before = torch.cat([part for _, part in written_out(seen, [], None, where)], 2)
    after = torch.cat([part for _, part in written_out(seen, acting, cells, where)], 2) if acting else before
    place = (chosen.cumsum(0) - 1)[rows][:, None, :, None].expand(-1, before.shape[1], -1, before.shape[-1])
    return torch.stack([before.gather(2, place), after.gather(2, place)])


@torch.no_grad()
def masses(vlm: VLM, samples: Sequence[Sample], partition: Partition) -> list[Tensor]:
    """For each sample, masses [2, layers, heads, A, groups] in the rows that predict its last answer, before and after the
    model's own rules, from one forward pass that reads prompt and answer.
    """
    alone = [vlm.layout.alone(sample, len(sample.turns) - 1) for sample in samples]
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in alone])
    asked = [last_answer(batch, b) for b in range(len(samples))]
    length = max(map(len, asked))
    recorder = Masses(partition, rows=torch.stack([torch.cat([each, each[-1:].expand(length - len(each))]) for each in asked]))
    tokens = batch.tokens.at(vlm.positions.assign(batch.tokens)).to(vlm.device)
    with evaluating(vlm), activated(Plan(vlm.mask, tokens, recorder)):
        vlm.hidden(batch.to(vlm.device))
    table = recorder.table()
    return [table[:, :, b, :, :len(each)] for b, each in enumerate(asked)]
