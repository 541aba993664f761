"""What each position of a batch is: kind, document, branch, medium, place in the picture, role, turn, position.

Shapes: B rows, N tokens. Everything is an integer tensor [B, N], so a map can be built by a collator, moved, sliced, packed and hashed; no closure,
no Python object per token. Masks and positions are pure functions of such maps.
"""
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum

import torch
from torch import Tensor


class Kind(IntEnum):
    PAD, TEXT, VISION, LATENT = range(4)


class Role(IntEnum):
    PAD, SYSTEM, QUESTION, ANSWER = range(4)


@dataclass(frozen=True, eq=False)
class TokenMap:
    """Integer tables over the tokens of a batch, each [B, N] (or a broadcast view of it).

    kind: a `Kind`. document: index of the packed sample in its row, -1 for padding. branch: 0 on the trunk that all branches of a document share,
    1, 2, ... on text that sees the trunk and its own branch only. media: index of the image or clip within the document, -1 for text.
    frame, row, col: place within the medium, -1 where meaningless. role: a `Role`. turn: dialogue turn, -1 where meaningless.
    position: what the model's positions lever assigned (`at`), before that the sequential position within the document; 0 for padding.
    index: absolute index in the row, padding counted.

    Three tables count along each token's own path, its document's trunk and then its own branch, 0 for padding. They follow from the others and are
    made with the map, so that they stay right in a slice of it; trunks precede branches. depth: tokens before this one. answered: answer tokens up to
    and including it. shown: vision tokens up to and including it.
    """

    kind: Tensor
    document: Tensor
    branch: Tensor
    media: Tensor
    frame: Tensor
    row: Tensor
    col: Tensor
    role: Tensor
    turn: Tensor
    position: Tensor
    index: Tensor
    depth: Tensor = field(default=None)  # type: ignore[assignment]
    answered: Tensor = field(default=None)  # type: ignore[assignment]
    shown: Tensor = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.depth is None:
            counted = torch.stack([self.is_real, self.role == Role.ANSWER, self.is_vision]).long()
            before = self.before(counted)
            before[1:] += counted[1:]
            for name, table in zip(("depth", "answered", "shown"), before, strict=True):
                object.__setattr__(self, name, table)  # the one moment at which a frozen map is not

    @property
    def shape(self) -> torch.Size:
        return self.kind.shape

    @property
    def device(self) -> torch.device:
        return self.kind.device

    @property
    def is_real(self) -> Tensor:
        return self.kind != Kind.PAD

    @property
    def is_vision(self) -> Tensor:
        return self.kind == Kind.VISION

    @property
    def follows_vision(self) -> Tensor:
        """Text with at least one vision token before it on its own path."""
        return (self.kind == Kind.TEXT) & (self.shown > 0)

    def before(self, amount: Tensor) -> Tensor:
        """Sum of `amount`, long [..., B, N], over the tokens before each one on its own path; 0 for padding. For whole maps, not for slices."""
        order = torch.arange(self.shape[1], device=self.device)
        entered = _latest(self.is_real, order)  # padding within a document, or within a branch, parts nothing
        branch, forks = self.branch.gather(1, entered), _changes(self.document.gather(1, entered))
        trunk = branch == 0
        total = torch.zeros_like(amount)
        for part, starts in ((amount * (self.is_real & trunk), forks), (amount * (self.is_real & ~trunk), forks | _changes(branch))):
            sums = part.cumsum(-1) - part
            total += sums - sums.gather(-1, _latest(starts, order).expand_as(sums))
        return total * self.is_real

    @property
    def is_chain(self) -> bool:
        """Every row is one document along one path, with padding on its right only: what a plain causal model takes a row for."""
        real, here, ahead = self.is_real, self[:, :-1], self[:, 1:]
        forks = (here.branch != 0) & (here.branch != ahead.branch)
        breaks = ahead.is_real & (~here.is_real | (here.document != ahead.document) | forks)
        return bool(real[:, 0].all() and not breaks.any())

    def at(self, position: Tensor) -> "TokenMap":
        """The same tokens where a positions lever put them. position: long [B, N]. ValueError for another shape."""
        if position.shape != self.shape:
            raise ValueError(f"positions of shape {tuple(position.shape)} for tokens of shape {tuple(self.shape)}; give what `Positions.assign` "
                             "made of this map")
        return replace(self, position=position)

    def map(self, function: Callable[[Tensor], Tensor]) -> "TokenMap":
        """The map whose tables are `function` of these tables."""
        return TokenMap(*(function(getattr(self, field.name)) for field in fields(self)))

    def __getitem__(self, item: object) -> "TokenMap":
        """Slice rows or tokens like a tensor: `tokens[:, 3:7]`."""
        return self.map(lambda table: table[item])  # type: ignore[index]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "TokenMap":
        return self.map(lambda table: table.to(device, non_blocking=non_blocking))

    def queries(self) -> "TokenMap":
        """View [B, N, 1] that broadcasts against `keys()`."""
        return self.map(lambda table: table.unsqueeze(-1))

    def keys(self) -> "TokenMap":
        """View [B, 1, N] that broadcasts against `queries()`."""
        return self.map(lambda table: table.unsqueeze(-2))

    def repeat_rows(self, times: int) -> "TokenMap":
        """Each row `times` times in order, as beams and several returned sequences are laid out."""
        return self.map(lambda table: table.repeat_interleave(times, dim=0))

    def extend(self, count: int) -> "TokenMap":
        """The map after `count` decoded tokens: answer text that goes on behind each row's last token.

        Their positions go on behind the furthest on their path, which need not be the last token's: a prompt may end in an image.
        """
        last = self[:, -1:]
        steps = torch.arange(1, count + 1, device=self.device)
        text = last.map(lambda table: table.expand(-1, count))
        none = torch.full_like(text.media, -1)
        on_path = (self.document == last.document) & ((self.branch == 0) | (self.branch == last.branch))
        furthest = torch.where(on_path, self.position, 0).amax(1, keepdim=True)
        decoded = replace(
            text, kind=torch.full_like(none, Kind.TEXT), role=torch.full_like(none, Role.ANSWER), media=none, frame=none, row=none, col=none,
            position=furthest + steps, index=last.index + steps, depth=last.depth + steps, answered=last.answered + steps)
        return TokenMap(*(torch.cat([getattr(self, f.name), getattr(decoded, f.name)], dim=1) for f in fields(self)))

    @staticmethod
    def text(real: Tensor) -> "TokenMap":
        """One causal text document a row, from a bool mask [B, N] of real tokens."""
        real = real.bool()
        ones = real.long()
        none = torch.full_like(ones, -1)
        return TokenMap(
            kind=ones * Kind.TEXT, document=ones - 1, branch=torch.zeros_like(ones), media=none, frame=none, row=none, col=none,
            role=ones * Role.QUESTION, turn=ones - 1, position=(ones.cumsum(1) - 1).clamp(min=0) * ones,
            index=torch.arange(real.shape[1], device=real.device).expand_as(ones))

    @staticmethod
    def stack(rows: "list[TokenMap]", length: int, left: bool = False) -> "TokenMap":
        """One batch [B, length] of single-row maps [1, N_i], padded on the right, or on the left for generation."""
        padding = {"kind": int(Kind.PAD), "role": int(Role.PAD), "branch": 0, "position": 0, "depth": 0, "answered": 0, "shown": 0}

        def table(name: str) -> Tensor:
            if name == "index":
                return torch.arange(length).expand(len(rows), length)
            out = torch.full((len(rows), length), padding.get(name, -1), dtype=torch.long)
            for b, tokens in enumerate(rows):
                n = tokens.shape[1]
                out[b, length - n if left else 0:length if left else n] = getattr(tokens, name)[0]
            return out

        return TokenMap(*(table(f.name) for f in fields(TokenMap)))


def _changes(table: Tensor) -> Tensor:
    """True where an entry differs from the one on its left, and at the start of a row."""
    return torch.cat([torch.ones_like(table[:, :1], dtype=torch.bool), table[:, 1:] != table[:, :-1]], dim=1)


def _latest(event: Tensor, order: Tensor) -> Tensor:
    """Index of the latest event at or before each entry, [B, N]; 0 where there is none."""
    return torch.where(event, order, 0).cummax(1).values
