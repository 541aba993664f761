"""The rules of a model, in order, as one part of it."""
from collections.abc import Iterator, Sequence
from typing import overload

from torch import nn

from mm.reweight.base import Rule


class Rules(nn.Module, Sequence[Rule]):
    """Rules that know the model they act in; those that train are its submodules, under their place in the list.

    layers, heads: of the model; key_heads: of its keys, width: of each. ValueError where a rule asks for a layer or head that does not exist, or
    stands in the list twice.
    """

    def __init__(self, rules: Sequence[Rule], layers: int, heads: int, key_heads: int | None = None, width: int | None = None) -> None:
        super().__init__()
        self.rules = tuple(rules)
        if len({id(rule) for rule in rules}) < len(rules):
            raise ValueError("a rule stands in the list twice; make a second one")
        for index, rule in enumerate(rules):
            rule.bind(layers, heads)
            if key_heads is not None and width is not None:
                rule.measure(key_heads, width)
            if isinstance(rule, nn.Module):
                self.add_module(str(index), rule)

    @overload
    def __getitem__(self, index: int) -> Rule: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Rule]: ...
    def __getitem__(self, index: int | slice) -> Rule | Sequence[Rule]:
        return self.rules[index]

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)
