"""One forward pass under a plan, as the attention function of each layer sees it."""
import torch
from torch import Tensor

from mm.attention.active import Active, Grouping, checked_groups, rewrites_keys
from mm.attention.call import Call
from mm.attention.columns import column_means
from mm.attention.engine import reweigh
from mm.attention.kernels import attend
from mm.attention.record import Recorder
from mm.attention.rewriting import rewritten
from mm.attention.session import AHEAD, WATCHED, Session
from mm.attention.visibility import Visibility
from mm.tokens import Role, TokenMap


class Reading:
    """`count` tokens behind `start` cached ones, of rows that `session` knows. It travels through the layers as a keyword argument; the attention
    function of each layer calls `attend`.

    is_left: a causal lever may be left to the model's own mask, which is causal and knows the padding. is_kept: a cache keeps what is read, for
    passes that follow. has_mask: the plan says who sees whom, in place of the model.
    """

    def __init__(self, session: Session, start: int, count: int, is_left: bool = True, is_kept: bool = True) -> None:
        self.session, self.start, self.stop, self.is_kept = session, start, start + count, is_kept
        self.reads_prompt = start < session.base.shape[1]
        self.is_decoded = count == 1 and not self.reads_prompt
        self.has_mask = not session.is_plain or (session.plan.mask is not None and not is_left)
        self.masks: dict[tuple[int, int | None], Tensor | Visibility | None] = {}
        self.maps: dict[tuple[int, int], TokenMap] = {}
        self.idle: dict[tuple[int, bool], bool] = {}
        if self.has_mask and start < (known := session.base.shape[1]) and self.stop < known:
            self._check_piece(known)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, given: Tensor | None, causal: bool, scale: float | None, dropout: float,
               window: int | None) -> Tensor:
        """Attention [B, H, Q, D] of one layer: q [B, H, Q, D] over k, v [B, Hk, K, D], all keys of its cache.

        given: the model's own mask, for a plan that has none. window: of a sliding layer.
        """
        keys, rules = self.keys(k.shape[2]), self.rules(layer)
        if (room := keys.stop - keys.start) < k.shape[2] and (given is None or self.has_mask or rules):
            # A static cache: what follows is not written yet.
            k, v, given = k[:, :, :room], v[:, :, :room], None if given is None else given[..., :room]
        for index in rules:
            if rewrites_keys(self.session.rules[index]):
                k = rewritten(self.session, index, layer, k, v, keys.start, self.start, self.is_kept)
        mask: Tensor | Visibility | None = given
        if self.has_mask:
            mask, causal = self.mask(keys, window), False
        active = self.active(layer, rules, q, k, mask, causal, scale)
        if self.recorder is not None:
            call = Call(q, k, v, mask, causal, scale, self.tokens(slice(0, self.stop)), self.start)
            self.recorder.watch(layer, call, active, self.session.groups.get((WATCHED, layer)))
        if (trunk := self.session.trunk) is not None:
            if active or self.recorder is not None:
                raise ValueError("rows that share a trunk are read without rules and recorders, which look at all keys of a row; begin them anew")
            return trunk.joined(layer, q, attend(q, k, v, mask, causal, scale, need_lse=True), scale)
        if not active:
            return attend(q, k, v, mask, causal, scale, dropout=dropout).out
        if dropout:
            raise ValueError(f"{active[0].rule!r} moves attention mass, which attention dropout ({dropout}) would move again; "
                             "set attention_dropout to 0")
        return reweigh(q, k, v, active, mask, causal, scale, self.tokens(slice(0, self.stop)), self.start,
                       self.session.memos.setdefault(layer, {}) if self.is_decoded else None)

    @property
    def recorder(self) -> Recorder | None:
        return self.session.plan.recorder

    def keys(self, count: int) -> slice:
        """Absolute indices of a layer's keys: all so far, or the last ones where its cache slides. A static cache has room behind them."""
        return slice(max(self.stop - count, 0), self.stop)

    def mask(self, keys: slice, window: int | None) -> Tensor | Visibility | None:
        """Who sees whom among the queries of this pass and `keys`; None where every query sees every key."""
        place = keys.start, window
        if place not in self.masks:
            self.masks[place] = self._row(keys, window) if self.is_decoded else self._visibility(keys, window)
        return self.masks[place]

    def _visibility(self, keys: slice, window: int | None) -> Visibility | None:
        rule = self.session.plan.mask
        assert rule is not None
        visible = Visibility(rule, self.session.tokens, slice(self.start, self.stop), keys, window)
        return None if self.stop - self.start == 1 and visible.sees_all() else visible

    def _row(self, keys: slice, window: int | None) -> Tensor | None:
        """bool [B, 1, 1, K] of a decoded token. Rows of the next `AHEAD` tokens are worked out at once."""
        session, rule = self.session, self.session.plan.mask
        assert rule is not None
        known = session.base.shape[1]
        first = known + (self.start - known) // AHEAD * AHEAD
        offset, place = self.start - first, (first, window)
        if place not in session.ahead:
            rows = Visibility(rule, session.tokens, slice(first, first + AHEAD), slice(0, first + AHEAD), window).dense()[:, 0]
            past = torch.arange(first + AHEAD, device=rows.device) <= torch.arange(first, first + AHEAD, device=rows.device)[:, None]
            session.ahead[place] = rows, (rows | ~past).all(-1).all(0).tolist()
        rows, open_ = session.ahead[place]
        if open_[offset]:
            return None
        row = rows[:, None, offset:offset + 1, keys]
        return None if bool(row.all()) else row

    def tokens(self, keys: slice) -> TokenMap:
        """The map of `keys`."""
        place = keys.start, keys.stop
        if place not in self.maps:
            self.maps[place] = self.session.tokens[:, keys]
        return self.maps[place]

    def rules(self, layer: int) -> list[int]:
        """Indices of the plan's rules that act in `layer`."""
        return [index for index, rule in enumerate(self.session.rules) if rule.applies(layer) and not self._is_idle(index)]

    def _is_idle(self, index: int) -> bool:
        """Asked once a pass: a rule may have to look at its parameters. What learns is neutral only where no gradients are wanted."""
        place = index, torch.is_grad_enabled()
        if place not in self.idle:
            self.idle[place] = self.session.rules[index].is_neutral
        return self.idle[place]

    def active(self, layer: int, rules: list[int], q: Tensor, k: Tensor, mask: Tensor | Visibility | None, causal: bool,
               scale: float | None) -> list[Active]:
        """Those of `rules`, which act in `layer`, that do so inside attention, with what they found in the prompt."""
        session = self.session
        if self.reads_prompt and self.finders(layer):
            self.see(layer, None, Call(q, k, q, mask, causal, scale, self.tokens(slice(0, self.stop)), self.start))
        for index in rules:
            if not rewrites_keys(rule := session.rules[index]):
                session.check_seen((index, layer), rule, self.start)
        return [Active(rule, session.groups.get((index, layer)), self._rows(index), rule.head_mask(layer, q.shape[1]), layer)
                for index in rules if not rewrites_keys(rule := session.rules[index]) and session.acting.get((index, layer), True)]

    def _rows(self, index: int) -> Tensor | None:
        """Which queries of this pass rule `index` may touch, bool [B, Q]; None where it may touch all decoded tokens, this one among them."""
        rows, all_decoded = self.session.rows_of(index)
        return None if self.is_decoded and all_decoded else rows[:, self.start:self.stop]

    def finders(self, layer: int) -> dict[int, Grouping]:
        """What looks for groups in `layer`: its rules by their indices, and what the recorder watches."""
        found: dict[int, Grouping] = {index: rule for index in self.rules(layer) if not rewrites_keys(rule := self.session.rules[index])}
        if self.recorder is not None and self.recorder.grouping is not None:
            found[WATCHED] = self.recorder.grouping
        return found

    def wants_hidden(self, layer: int) -> bool:
        return self.reads_prompt and any("hidden" in finder.needs for finder in self.finders(layer).values())

    def see(self, layer: int, hidden: Tensor | None, call: Call | None = None) -> None:
        """Lets the rules of `layer` find their groups among the prompt tokens of this pass.

        hidden: [B, Q, C], what enters the layer. call: its attention. Each rule looks when it is shown what it needs.
        A layer that is recomputed in the backward pass has been seen: what was found stays. Decoded tokens and answers are never looked at, so that a
        step of decoding and the same row of one long pass find the same.
        """
        if not self.reads_prompt:
            return
        session = self.session
        stop = min(self.stop, session.base.shape[1])
        tokens = self.tokens(slice(self.start, stop))
        for index, rule in self.finders(layer).items():
            place = index, layer
            if session.looked.get(place, 0) > self.start or ("hidden" in rule.needs and hidden is None) or ("columns" in rule.needs and call is None):
                continue
            columns = self._columns(rule, layer, call, stop) if "columns" in rule.needs and call is not None else None
            found = rule.groups(tokens, layer, None if hidden is None else hidden[:, :stop - self.start].detach(), columns)
            session.keep(place, rule, checked_groups(rule, found, tokens.shape), tokens, self.start)
            if index != WATCHED and found is not None:
                session.acting[place] = session.rules[index].acts_on(session.groups[place])

    def _columns(self, rule: Grouping, layer: int, call: Call, stop: int) -> Tensor:
        """Mean weights [B, H, N] over the rows of the prompt, answers left out."""
        if self.start or stop < self.session.base.shape[1]:
            raise ValueError(f"{rule!r} looks at how much all rows of a prompt attend to each key, so the prompt of {self.session.base.shape[1]} "
                             f"tokens must be read in one piece; got tokens {self.start} to {self.stop}")
        asked = (call.tokens.role != Role.ANSWER) & call.tokens.is_real
        return column_means(call, rule.head_mask(layer, call.q.shape[1]), asked)[..., :stop]

    def _check_piece(self, known: int) -> None:
        """ValueError where a query of this piece of the prompt sees a token that comes in a later piece."""
        rule = self.session.plan.mask
        assert rule is not None
        later = Visibility(rule, self.session.tokens, slice(self.start, self.stop), slice(self.stop, known))
        if bool(later.blocks().may.any()) and bool(later.dense().any()):
            raise ValueError(f"{rule!r} lets tokens see later ones, so its prompt of {known} tokens must be read in one piece; "
                             f"got tokens {self.start} to {self.stop}: prefill without chunks, with a plan made for this prompt")
