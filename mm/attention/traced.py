"""A rule as a graph over the entries of one query and one key, for compilers of attention.

It is traced once, ahead of Dynamo, which (torch 2.15) takes an indexed tensor compared with an enumeration for False. What is left holds no object of
ours and only the tables that the rule reads, so that a later call with the same rule compiles nothing anew.
"""
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from itertools import islice

import torch
from torch import Tensor
from torch.fx import GraphModule

from mm.attention.rule import Side, VisibleRule, visible
from mm.tokens import TokenMap


def by_index(rule: VisibleRule, q: Side, k: Side, window: int | None, written: int | None) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The function (b, h, query, key) → bool of scalar indices into the sides' tables [B, N]."""
    q_tables, k_tables = q.tables(), k.tables()
    dtypes = tuple(table.dtype for table in q_tables + k_tables)
    graph, asked = traced(rule, window, written, q.depth is not None, k.kept is not None, dtypes)
    of_query = tuple(packed(table) for i, table in enumerate(q_tables) if i in asked)
    of_key = tuple(packed(table) for i, table in enumerate(k_tables, len(q_tables)) if i in asked)

    def seen(b: Tensor, h: Tensor, q_index: Tensor, k_index: Tensor) -> Tensor:
        return graph(*(table[b, q_index] for table in of_query), *(table[b, k_index] for table in of_key))

    return seen


def packed(table: Tensor) -> Tensor:
    """A copy without gaps. `contiguous` lets a single row keep the stride of the map that it was cut from, and compilers look at strides."""
    return table.clone(memory_format=torch.contiguous_format)


@lru_cache(maxsize=64)
def traced(rule: VisibleRule, window: int | None, written: int | None, slides: bool, chooses: bool,
           dtypes: tuple[torch.dtype, ...]) -> tuple[GraphModule, frozenset[int]]:
    """`visible` as a graph, and which of the entries (the query's, then the key's) it takes. slides, chooses: whether there are depths and kept."""
    from torch.fx.experimental.proxy_tensor import make_fx  # slow to import

    def of(*entries: Tensor) -> Tensor:
        rest = iter(entries)
        q, k = (Side(TokenMap(*islice(rest, len(fields(TokenMap)))), next(rest) if slides else None, next(rest) if kept else None)
                for kept in (False, chooses))
        return visible(rule, q, k, window, written)

    graph = make_fx(of)(*(torch.zeros((), dtype=dtype) for dtype in dtypes))
    entries = graph.graph.find_nodes(op="placeholder")
    asked = frozenset(i for i, entry in enumerate(entries) if entry.users)
    for entry in entries:
        if not entry.users:
            graph.graph.erase_node(entry)
    graph.recompile()
    return graph, asked
