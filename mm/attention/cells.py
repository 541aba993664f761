"""Several rules that move mass, as one: the groups of all of them cut the keys into *cells*, and masses of cells are all that any of them needs.

With rules applied one after the other, the second sees the masses that the first has left. On cells that is exact: a group is a union of cells, and a
rule multiplies a cell by the factor of the group that holds it.
"""
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from mm.attention.active import Active, MovesMass, moves_mass


class Cells:
    """The product of the groups of `actives`, in list order. length: of the token map whose last `keys` tokens are the call's keys.

    ids: long [B, 1 or H, N], the cell of each key. idle: the cell that every rule leaves alone, None if there is none.
    """

    def __init__(self, actives: Sequence[Active], length: int, keys: int) -> None:
        self.actives = actives
        self.rules: list[MovesMass] = [active.rule for active in actives if moves_mass(active.rule)]
        sizes = [rule.group_count for rule in self.rules]
        self.count = prod(sizes)
        ids = torch.zeros((), dtype=torch.long)
        for active, size in zip(actives, sizes, strict=True):
            ids = ids * size + active.key_groups(length, keys)
        self.ids = ids
        self.group_of = torch.cartesian_prod(*(torch.arange(size) for size in sizes)).view(self.count, len(sizes)).T
        idle = tuple(rule.idle_group for rule in self.rules)
        self.idle = None if None in idle else [tuple(groups) for groups in self.group_of.T.tolist()].index(idle)

    def onehot(self, dtype: torch.dtype) -> Tensor:
        """[B, 1 or H, N, C]"""
        return (self.ids.unsqueeze(-1) == torch.arange(self.count, device=self.ids.device)).to(dtype)

    def sizes(self) -> list[int]:
        """Keys of each cell, in the row and head that has most."""
        return torch.stack([(self.ids == cell).sum(-1).max() for cell in range(self.count)]).tolist()

    def factors(self, mass: Tensor, size: Tensor, window: slice, actives: Sequence[Active] | None = None) -> Tensor:
        """Factor on each cell, [C, B, H, q], of a window of rows with cell masses [C, B, H, q] and visible keys a cell, [C, B, 1 or H, q or 1].

        actives: whose rows and heads count; those the cells were made for, if None.
        """
        total: Tensor | None = None
        for active, rule, groups in zip(actives or self.actives, self.rules, self.group_of, strict=True):
            now = mass if total is None else mass * total
            alone = len(self.rules) == 1
            groups = groups.to(mass.device)
            weights = rule.weights(*((now, size) if alone else (summed(x, groups, rule.group_count) for x in (now, size))))
            if len(weights) != rule.group_count:
                raise ValueError(f"{rule!r} gave factors for {len(weights)} groups; it has {rule.group_count}: its `weights` returns [G, B, H, Q]")
            weights = weights if alone else weights[groups]
            touched = active.touched(window, mass.device)
            if touched is not None:
                weights = torch.where(touched[None, ..., 0], weights, 1.0)
            total = weights if total is None else total * weights
        assert total is not None
        return total


def summed(cells: Tensor, groups: Tensor, count: int) -> Tensor:
    """Sums over the cells of each group, [G, ...] of [C, ...]."""
    return cells.new_zeros(count, *cells.shape[1:]).index_add(0, groups, cells)
