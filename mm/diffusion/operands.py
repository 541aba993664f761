"""An attention under edits, as a few ordinary attentions: what each row of the batch reads, and what is added to it."""
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mm.attention import SDPA, attend
from mm.diffusion.columns import NEUTRAL, Columns
from mm.diffusion.edit import Role
from mm.diffusion.watched import Call

_PLAIN = SDPA()  # the stock kernel, so that rows without an edit are the plain model's to the bit
_BLOCK: frozenset[Role] = frozenset({"q", "k"})


@dataclass(frozen=True)
class Axes:
    """Where text and picture lie among the keys, None where there is none, and the picture among the queries."""

    text: slice | None
    picture: slice | None
    queries: slice


@dataclass(frozen=True)
class RowEdit:
    """Of one row. source: the row it takes from. columns: of the text map, in their simplest form. takes: what the picture takes from the source."""

    row: int
    source: int
    columns: Columns = NEUTRAL
    takes: frozenset[Role] = frozenset()

    @property
    def is_neutral(self) -> bool:
        return self.columns.source is None and self.columns.own is None and not self.takes


class _Term(NamedTuple):
    """One row's attention. q: [H, Q, D]; k: [Hk, K, D]; values: [Hk, K, D], already multiplied by what `weights` says; mask: the row whose mask it
    is. weights: [K], sums of the rows of the value map, None for all ones.
    """

    q: Tensor
    k: Tensor
    mask: int
    values: Tensor
    weights: Tensor | None


def edited(call: Call, axes: Axes, edits: list[RowEdit]) -> Tensor:
    """Output [B, H, Q, D] of the call with its rows edited. Rows without an edit are as the stock call has them.

    One attention over the batch, as large as the stock one; what does not fit into it is added by smaller ones: second terms (a map of which some
    columns come from the source and some do not), row sums of normalised columns, and the text's own queries in joint attention.
    """
    edits = [edit for edit in edits if not edit.is_neutral]
    if not edits:
        return call.stock()
    terms = {edit.row: _terms(call, axes, edit) for edit in edits}
    out = _whole(call, {row: of_row[0] for row, of_row in terms.items()})
    extra = [(row, term) for row, of_row in terms.items() for term in of_row[1:]]
    sums = [(edit.row, _sums(term)) for edit in edits if edit.columns.normalised for term in terms[edit.row]]
    apart = [] if axes.queries == slice(0, call.q.shape[2]) else [row for row, of_row in terms.items() if not _is_stock(call, of_row[0], row)]
    if not (extra or sums or apart):
        return out
    pictures = {row: out[row, :, axes.queries] for row in {row for row, _ in (*extra, *sums)}}
    for (row, _), part in zip(extra, _pictures(call, axes, [term for _, term in extra]), strict=True):
        pictures[row] = pictures[row] + part
    totals: dict[int, Tensor] = {}
    for (row, _), part in zip(sums, _pictures(call, axes, [term for _, term in sums]), strict=True):
        totals[row] = totals[row] + part if row in totals else part
    out = out.clone()
    for row, picture in pictures.items():
        out[row, :, axes.queries] = picture / totals[row] if row in totals else picture
    if apart:
        words = slice(0, axes.queries.start) if axes.queries.start else slice(axes.queries.stop, call.q.shape[2])
        rows = torch.tensor(apart, device=out.device)
        out[rows, :, words] = _attention(call.q[rows][:, :, words], call.k[rows], call.v[rows], _masks(call.mask, apart, words), call.scale)
    return out


def operands(call: Call, axes: Axes, edit: RowEdit) -> tuple[Tensor, Tensor]:
    """Queries and keys [H, ., D] of the map whose columns of words are the edited row's own."""
    mixed = axes.picture is not None and not edit.takes >= _BLOCK
    return (_taken(call.q, mixed and "q" in edit.takes, axes, edit), _taken(call.k, mixed and "k" in edit.takes, axes, edit))


def row_sums(call: Call, axes: Axes, edit: RowEdit) -> Tensor:
    """[H, P]: what the rows of the edited map sum to before they are divided by it."""
    return _pictures(call, axes, [_sums(term) for term in _terms(call, axes, edit)]).sum(0)[..., 0]


def _terms(call: Call, axes: Axes, edit: RowEdit) -> list[_Term]:
    """The attentions whose sum the edited row's picture reads."""
    own, source, columns, takes = edit.row, edit.source, edit.columns, edit.takes if axes.picture is not None else frozenset()
    q, k, v = (_taken(tensor, role in takes, axes, edit) for tensor, role in zip((call.q, call.k, call.v), ("q", "k", "v"), strict=True))
    if axes.text is None:
        return [_Term(q, k, own, v, None)]
    block = takes >= _BLOCK  # the picture's block of the joint map is the source's, and the words' columns are not, unless `columns` say so
    if not block and columns.source is None:
        return [_Term(q, k, own, *_weighted(v, axes, True, columns.own))]
    terms = [_Term(call.q[source], call.k[source], source, *_mapped(v, axes, block, columns.source))]
    if columns.own is None or not columns.gone or (axes.picture is not None and not block):
        q, k = (call.q[own], call.k[own]) if block else (q, k)
        terms.append(_Term(q, k, own, *_weighted(v, axes, not block, columns.own)))
    return terms


def _taken(tensor: Tensor, takes: bool, axes: Axes, edit: RowEdit) -> Tensor:
    """[H, N, D] of the edited row, the picture's part from the source if it takes it."""
    if not takes:
        return tensor[edit.row]
    if axes.text is None:
        return tensor[edit.source]
    taken = tensor[edit.row].clone()
    taken[:, axes.picture] = tensor[edit.source, :, axes.picture]
    return taken


def _weighted(v: Tensor, axes: Axes, picture: bool, own: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Values with the text's multiplied by `own` [K], and the picture's kept or left out; and the weights by themselves."""
    if own is None and (picture or axes.picture is None):
        return v, None
    weights = v.new_ones(v.shape[1])
    if own is not None:
        weights[axes.text] = own.to(v)
    if axes.picture is not None and not picture:
        weights[axes.picture] = 0
    return v * weights[:, None], weights


def _mapped(v: Tensor, axes: Axes, picture: bool, mapping: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values with the text's replaced by what the source's columns [K, K] give to, and the picture's kept or left out; and the weights."""
    values, weights = torch.zeros_like(v), v.new_zeros(v.shape[1])
    if mapping is not None:
        mapping = mapping.to(v)
        values[:, axes.text] = mapping @ v[:, axes.text]
        weights[axes.text] = mapping.sum(1)
    if axes.picture is not None and picture:
        values[:, axes.picture] = v[:, axes.picture]
        weights[axes.picture] = 1
    return values, weights


def _sums(term: _Term) -> _Term:
    """The term whose output is the sum of the row's weights, in each column."""
    ones = torch.ones_like(term.values)
    return term._replace(values=ones if term.weights is None else ones * term.weights[:, None])


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr()


def _is_stock(call: Call, term: _Term, row: int) -> bool:
    """Whether the term is the row's plain attention."""
    return _same(term.q, call.q[row]) and _same(term.k, call.k[row]) and _same(term.values, call.v[row])


def _whole(call: Call, terms: dict[int, _Term]) -> Tensor:
    """Attention of the whole batch, some of its rows replaced by terms."""
    q = _with_rows(call.q, {row: term.q for row, term in terms.items()})
    k = _with_rows(call.k, {row: term.k for row, term in terms.items()})
    v = _with_rows(call.v, {row: term.values for row, term in terms.items()})
    order = [terms[row].mask if row in terms else row for row in range(q.shape[0])]
    return _attention(q, k, v, _masks(call.mask, order, slice(0, q.shape[2])), call.scale)


def _with_rows(tensor: Tensor, rows: dict[int, Tensor]) -> Tensor:
    """The batch with some of its rows replaced; itself where all are its own."""
    changed = {row: new for row, new in rows.items() if not _same(new, tensor[row])}
    if not changed:
        return tensor
    whole = tensor.clone()
    for row, new in changed.items():
        whole[row] = new
    return whole


def _masks(mask: Tensor | None, rows: list[int], queries: slice) -> Tensor | None:
    """The mask of these rows and queries; the tensor itself where that is all of it."""
    if mask is None:
        return None
    if mask.dim() == 4 and mask.shape[0] > 1 and rows != list(range(mask.shape[0])):
        mask = mask[rows]
    per_query = mask.dim() > 1 and mask.shape[-2] > 1
    return mask[..., queries, :] if per_query else mask


def _pictures(call: Call, axes: Axes, terms: list[_Term]) -> Tensor:
    """[n, H, P, D]: outputs of several terms in one attention, for the picture's queries."""
    if not terms:
        return call.q.new_zeros(0)
    q = torch.stack([term.q[:, axes.queries] for term in terms])
    k, v = torch.stack([term.k for term in terms]), torch.stack([term.values for term in terms])
    return _attention(q, k, v, _masks(call.mask, [term.mask for term in terms], axes.queries), call.scale)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """The core's attention on the stock kernel; masks of diffusers are bool or added to the scores."""
    if mask is None or mask.dtype == torch.bool:
        return attend(q, k, v, mask=mask, scale=scale, backend=_PLAIN).out
    return attend(q, k, v, log_bias=mask, scale=scale, backend=_PLAIN).out
