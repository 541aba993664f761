"""Keys that rules rewrite before attention: found when the prompt is read, kept with the session, and put in their places whenever the cache returns
the model's own. The cache itself is not written, so no trace stays in it.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

from mm.attention.active import RewritesKeys, Span, rewrites_keys
from mm.attention.session import Kept, Session


def rewritten(session: Session, index: int, layer: int, k: Tensor, v: Tensor, first: int, start: int, keep: bool) -> Tensor:
    """Keys [B, Hk, K, D] of a layer as rule `index` wants them.

    first: absolute index of the first key. start: of the first token of this pass, which ends with the keys. keep: for passes that follow.
    """
    place, stop = (index, layer), first + k.shape[2]
    passes = session.rewritten.setdefault(place, {})
    for kept in [kept for begun, kept in passes.items() if begun < start]:
        k = placed(k, kept, first)
    if start < session.base.shape[1]:
        rule = session.rules[index]
        assert rewrites_keys(rule)
        if session.looked.get(place, 0) == 0 < start:
            raise ValueError(f"{rule!r} has not seen the first {start} tokens of the prompt in layer {layer}; read the prompt under the same levers")
        found = found_keys(rule, session.spans_of(index), layer, k, v, first, start)
        if found is not None:
            k = placed(k, found, first)
            if keep:
                passes[start] = found
        session.looked[place] = max(stop, session.looked.get(place, 0))
    return k


def found_keys(rule: RewritesKeys, spans: Sequence[Span], layer: int, k: Tensor, v: Tensor, first: int = 0, start: int = 0) -> Kept | None:
    """What `rule` makes of the keys [B, Hk, K, D] of the tokens from `start`; None if it rewrites none of them. first: index of the first key.

    ValueError where they depend on tokens that are not there, or others that have been read depend on some that come only now.
    """
    found, stop = None, first + k.shape[2]
    for span in spans:
        check(rule, span.keys, span.sources, first, start, stop)
        changed = span.keys[:, start:stop]
        if not bool(changed.any()):
            continue
        where, sources = hull(changed, start), hull(span.sources[:, first:stop], first)
        local, there = slice(where.start - first, where.stop - first), slice(sources.start - first, sources.stop - first)
        keys = rule.rewritten(layer, k[:, :, local], k[:, :, there], v[:, :, there], span.sources[:, sources])
        new = Kept(where, span.keys[:, where], keys)
        found = new if found is None else joined(found, new, k, first)
    return found


def check(rule: RewritesKeys, keys: Tensor, sources: Tensor, first: int, start: int, stop: int) -> None:
    """keys, sources: bool [B, N], of one span."""
    parted = (keys[:, start:stop].any(1) & sources[:, stop:].any(1)) | (keys[:, :start].any(1) & sources[:, start:stop].any(1))
    if bool(parted.any()):
        raise ValueError(f"{rule!r} rewrites keys from tokens of the prompt that come in a later piece than they do, so the prompt must be read in "
                         f"one piece; got tokens {start} to {stop}: prefill without chunks")
    if bool((keys[:, start:stop].any(1) & sources[:, :first].any(1)).any()):
        raise ValueError(f"{rule!r} rewrites keys from tokens of the prompt that a sliding cache has dropped: its first key is that of token "
                         f"{first}; read the prompt in one piece")


def hull(chosen: Tensor, offset: int) -> slice:
    """From the first to the last column of `chosen`, bool [B, n], that some row has, counted from `offset`; empty if there is none."""
    columns = chosen.any(0).nonzero().flatten()
    return slice(offset, offset) if not len(columns) else slice(offset + int(columns[0]), offset + int(columns[-1]) + 1)


def placed(k: Tensor, kept: Kept, first: int) -> Tensor:
    """`k` with the rewritten keys in their places, those that a sliding cache has dropped left out."""
    start, stop = max(kept.where.start - first, 0), kept.where.stop - first
    if stop <= 0:
        return k
    dropped = start - (kept.where.start - first)
    here = torch.where(kept.changed[:, None, dropped:, None], kept.keys[:, :, dropped:], k[:, :, start:stop])
    return torch.cat([k[:, :, :start], here, k[:, :, stop:]], 2)


def joined(one: Kept, other: Kept, k: Tensor, first: int) -> Kept:
    """Both, over the tokens from the first to the last of either."""
    where = slice(min(one.where.start, other.where.start), max(one.where.stop, other.where.stop))
    keys = placed(placed(k, one, first), other, first)[:, :, where.start - first:where.stop - first]
    changed = one.changed.new_zeros(k.shape[0], where.stop - where.start)
    for kept in (one, other):
        changed[:, kept.where.start - where.start:kept.where.stop - where.start] |= kept.changed
    return Kept(where, changed, keys)
