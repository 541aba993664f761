"""What one generation knows: the map of every token so far, and what rules found out when the prompt was read.

A session is fastened to the cache of keys and values whose tokens it describes, so it is born, copied and forgotten with that cache: no sample
remembers another one, and nothing has to be reset. A forward pass without a cache has a session of its own.
"""
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from mm.attention.active import Grouping, Span, rewrites_keys
from mm.attention.decoded import Memo
from mm.attention.plan import Plan
from mm.attention.trunk import Trunk
from mm.attention.visibility import Visibility
from mm.tokens import Role, TokenMap

AHEAD = 64  # decoded tokens that a map is extended by at once: a step then costs slices, no concatenation
HOME = "mm_session"  # attribute of a cache
OTHER_LEVERS = ("these rows go on behind a prompt that they share, and it was read under other levers; pull them before the prompts are read, and "
                "leave them until the answers are there")
WATCHED = -1  # in place of a rule's index: the grouping that a recorder watches


@dataclass(frozen=True, eq=False)
class Kept:
    """Keys [B, Hk, n, D] of the tokens `where`, rewritten where `changed`, bool [B, n], is True."""

    where: slice
    changed: Tensor
    keys: Tensor

    def until(self, stop: int) -> "Kept":
        """Those of the tokens before `stop`."""
        count = max(min(self.where.stop, stop) - self.where.start, 0)
        return Kept(slice(self.where.start, self.where.start + count), self.changed[:, :count], self.keys[:, :, :count])


class Session:
    """base: map of the tokens read so far, or of the whole prompt, where that is known. tokens: the same as `plan.positions` places it, extended by
    decoded tokens. groups: what each rule found in each layer, [B, P] or [B, H, P]; looked: how many tokens it has looked at; acting: whether that
    leaves it anything to do. `WATCHED` stands for the recorder's grouping. memos: of each layer, for decoding steps. rewritten: keys that a rule has
    rewritten in a layer, by the first token of the pass that read them. prompt: the map that `base` was taken from, where one was given. trunk: the
    first keys of all rows, where they share them and the cache holds the others only.
    """

    trunk: Trunk | None = None

    def __init__(self, plan: Plan, base: TokenMap, prompt: TokenMap | None = None) -> None:
        self.plan = plan
        self.prompt = prompt
        self.rules = plan.rules or ()
        self.base = base
        self.groups: dict[tuple[int, int], Tensor] = {}
        self.memos: dict[int, Memo] = {}
        self.looked: dict[tuple[int, int], int] = {}
        self.acting: dict[tuple[int, int], bool] = {}
        self.tokens = base if plan.positions is None else base.at(plan.positions.assign(base))
        self.touched: dict[int, tuple[Tensor, bool]] = {}
        self.rewritten: dict[tuple[int, int], dict[int, Kept]] = {}
        self.spans: dict[int, Sequence[Span]] = {}
        self.ahead: dict[tuple[int, int | None], tuple[Tensor, list[bool]]] = {}
        # Where a mask is causal and rows are single documents, the model's own padding mask is the lever's.
        self.is_plain = plan.mask is None or (plan.mask.is_causal and bool(((base.document <= 0) & (base.branch == 0)).all()))
        self.is_padded = plan.mask is not None and not bool(base.is_real.all())
        if plan.mask is not None and not self.is_plain:
            plan.mask.check(self.tokens)

    def reach(self, stop: int) -> TokenMap:
        """The map of at least the first `stop` tokens. ValueError where decoded tokens would follow padding."""
        if stop > self.tokens.shape[1]:
            if not bool(self.base.is_real[:, -1].all()):
                raise ValueError("a row of the prompt ends with padding, and decoded tokens would follow it; pad prompts on the left")
            whole = self.base.extend(-(-(stop - self.base.shape[1]) // AHEAD) * AHEAD)
            self.tokens = whole if self.plan.positions is None else whole.at(self.plan.positions.assign(whole))
            if self.plan.mask is not None and not self.is_plain:
                self.plan.mask.check(self.tokens)
            self.touched.clear()
            self.ahead.clear()
        return self.tokens

    def continued(self, chunk: TokenMap, start: int, prompt: TokenMap | None = None) -> "Session":
        """The session that goes on with `chunk` behind the first `start` tokens, decoded ones included: another turn, or another piece of the prompt.

        What stood behind them, where a cache was cut back, is forgotten. ValueError where a token that has been read would see one of the chunk.
        """
        decoded = max(start - self.base.shape[1], 0)
        known = (self.base.extend(decoded) if decoded else self.base)[:, :start]
        after = Session(self.plan, joined(known, chunk) if chunk.shape[1] else known, prompt)
        after._recall(self, start)
        if self.plan.mask is not None and not after.is_plain and chunk.shape[1]:
            stop = after.base.shape[1]
            late = Visibility(self.plan.mask, after.tokens, slice(0, start), slice(start, stop))
            if bool(late.blocks().may.any()) and bool(late.dense().any()):
                raise ValueError(f"{self.plan.mask!r} lets tokens that have been read see some of the tokens {start} to {stop} that come now, so "
                                 "they must be read in one piece: prefill without chunks")
        return after

    def selected(self, rows: Tensor) -> "Session":
        """The session of these rows, long [R], whose cache has been selected likewise."""
        prompt = None if self.prompt is None else self.prompt[rows]
        plan = self.plan if self.plan.tokens is None else replace(self.plan, tokens=prompt)
        after = Session(plan, self.base[rows], prompt)
        after.trunk = None if self.trunk is None else self.trunk.selected(rows)
        after.groups = {place: found[rows] for place, found in self.groups.items()}
        after.acting, after.looked = dict(self.acting), dict(self.looked)
        after.rewritten = {place: {begun: Kept(kept.where, kept.changed[rows], kept.keys[rows]) for begun, kept in passes.items()}
                           for place, passes in self.rewritten.items()}
        return after

    def with_prompt(self, prompt: TokenMap, read: int) -> "Session":
        """This session, told the map of a longer prompt, whose first `read` tokens it has read: the next ones are what the map says, branches
        included."""
        after = Session(replace(self.plan, tokens=prompt), prompt, prompt)
        after._recall(self, read)
        return after

    def _recall(self, before: "Session", start: int) -> None:
        """What `before` found out about the first `start` tokens."""
        self.trunk = before.trunk
        self.groups = {place: found[..., :start] for place, found in before.groups.items()}
        self.acting = {place: place[0] == WATCHED or self.rules[place[0]].acts_on(found) for place, found in self.groups.items()}
        self.looked = {place: min(looked, start) for place, looked in before.looked.items()}
        self.rewritten = {place: {begun: kept.until(start) for begun, kept in passes.items() if begun < start}
                          for place, passes in before.rewritten.items()}

    def keep(self, place: tuple[int, int], rule: Grouping, found: Tensor | None, tokens: TokenMap, start: int) -> None:
        """Remembers the groups [B, Q] or [B, H, Q] that a rule found among `tokens`, which stand behind `start` others.

        found: None if there is nothing to do. Answers count as decoded tokens do. ValueError where the rule has not seen those others.
        """
        looked, before = self.looked.get(place, 0), self.groups.get(place)
        if looked == 0:
            self.check_seen(place, rule, start)
        self.looked[place] = start + tokens.shape[1]
        if found is None:
            return
        answer = tokens.role == Role.ANSWER
        found = found.masked_fill(answer if found.dim() == 2 else answer.unsqueeze(1), rule.decoded_group)
        gap = start - (0 if before is None else before.shape[-1])  # decoded since
        if gap:
            earlier = found.new_empty(*found.shape[:-1], 0) if before is None else before
            before = torch.nn.functional.pad(earlier, (0, gap), value=rule.decoded_group)
        self.groups[place] = found if before is None else torch.cat([before, found], -1)

    def check_seen(self, place: tuple[int, int], rule: object, start: int) -> None:
        """ValueError where there are tokens before `start` that the rule has not looked at."""
        if self.looked.get(place, 0) == 0 < start:
            raise ValueError(f"{rule!r} has not seen the first {start} tokens of the prompt in layer {place[1]}; "
                             "read the prompt under the same levers")

    def spans_of(self, index: int) -> Sequence[Span]:
        """Which keys of the prompt rule `index` rewrites."""
        if index not in self.spans:
            rule = self.rules[index]
            assert rewrites_keys(rule)
            self.spans[index] = rule.spans(self.base)
        return self.spans[index]

    def rows_of(self, index: int) -> tuple[Tensor, bool]:
        """Which tokens rule `index` may touch as queries, bool [B, N] over `tokens`, and whether all decoded ones are among them."""
        if index not in self.touched:
            rows = self.rules[index].rows(self.tokens)
            self.touched[index] = rows, bool(rows[:, self.base.shape[1]:].all())
        return self.touched[index]


def session_for(plan: Plan, cache: Any, start: int, count: int, batch: int, prompt: TokenMap | None, chunk: TokenMap | None) -> Session:
    """The session of a call that reads `count` tokens behind `start` cached ones: a new one, or the one on `cache`, continued where need be.

    prompt: map of everything up to the answer, where it is known beforehand. chunk: of what this call reads, where only that is. Neither: decoded
    text. ValueError for a map made for another batch, for a cache that was filled without these levers, of whose tokens nothing is known, and for
    rows that share keys which were read under others.
    """
    session: Session | None = getattr(cache, HOME, None)
    if start == 0:
        first = prompt if prompt is not None else chunk
        assert first is not None, "a prompt comes with its map"
        session = Session(plan, repeated(first, batch), prompt)
    elif session is None:
        if plan.tokens is None:
            raise ValueError(f"the cache holds {start} tokens that were read without these levers, so what they are is not known; "
                             "read the prompt under mm.steer too, or give its map (tokens=...)")
        session = Session(plan, repeated(plan.tokens, batch), plan.tokens)
    elif session.plan != plan:
        if session.trunk is not None:
            raise ValueError(OTHER_LEVERS)
        session = Session(plan, session.base, session.prompt)
    if session.base.shape[0] != batch:
        raise ValueError(f"the active plan describes {session.base.shape[0]} rows and the model reads {batch}; activate a plan made for this batch")
    if start > 0 and prompt is not None and session.prompt is not prompt:  # of another call, whose cache is used again
        session = session.continued(repeated(prompt[:, start:], batch), start, prompt)
    elif start > 0 and prompt is None and (chunk is not None or start < session.base.shape[1]):
        session = session.continued(session.base[:, :0] if chunk is None else repeated(chunk, batch), start)
    if cache is not None:
        setattr(cache, HOME, session)
    session.reach(start + count)
    return session


def repeated(tokens: TokenMap, batch: int) -> TokenMap:
    """Each row as often as a batch of `batch` rows has it, in order, as beams are laid out."""
    rows = tokens.shape[0]
    if batch % rows:
        raise ValueError(f"the active plan describes {rows} rows and the model reads {batch}; activate a plan made for this batch")
    return tokens if batch == rows else tokens.repeat_rows(batch // rows)


def joined(known: TokenMap, chunk: TokenMap) -> TokenMap:
    """`chunk` behind `known`, row by row: media and positions go on counting, and so do turns where an answer lies between; one document."""
    real, last = chunk.is_real, known[:, -1:]

    def after(name: str) -> Tensor:
        return getattr(known, name).max(dim=1, keepdim=True).values + 1

    def counted(name: str, there: Tensor) -> Tensor:
        """The chunk's own count from 0: it may be the end of a longer map."""
        table = getattr(chunk, name)
        return table - table.masked_fill(~there, table.max()).amin(1, keepdim=True)

    same_turn = (last.role != Role.ANSWER).long()
    begun = known.is_real.any(1, keepdim=True)
    moved = replace(
        chunk, document=torch.where(real, after("document").clamp(min=1) - 1, -1), branch=torch.zeros_like(chunk.branch),
        media=torch.where(chunk.media >= 0, counted("media", chunk.media >= 0) + after("media"), -1),
        turn=torch.where(chunk.turn >= 0, counted("turn", chunk.turn >= 0) + (after("turn") - same_turn).clamp(min=0), -1),
        role=torch.where((chunk.role == Role.SYSTEM) & begun, int(Role.QUESTION), chunk.role),
        position=torch.where(real, counted("position", real) + after("position") * begun, 0),
        index=torch.arange(known.shape[1], known.shape[1] + chunk.shape[1], device=real.device).expand_as(chunk.index))
    tables = [f.name for f in fields(TokenMap) if f.default is MISSING]  # what follows from them is counted anew
    return TokenMap(*(torch.cat([getattr(known, name), getattr(moved, name)], dim=1) for name in tables))
