"""Every edit in the space of values equals the edit of the maps, on every family of denoisers; rows without an edit are the plain model's."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import mm
from mm.diffusion import MutualSelfAttention, SelfInject, Window
from mm.diffusion.columns import NEUTRAL, Columns, from_source
from mm.diffusion.edit import Edit, WordEdit
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt
from tests import denoisers
from tests.denoisers import WORDS, Toy
from tests.edited_maps import MapEdit, map_form

PROMPTS = [denoisers.prompt("a cat"), denoisers.prompt("a dog")]
FAMILIES = [denoisers.sd, denoisers.sdxl, denoisers.pixart, denoisers.sd3, denoisers.flux, denoisers.qwen]
TEXT_FIRST = (denoisers.flux, denoisers.qwen)


def mixing() -> Tensor:
    """A mapping with one word over two, a lost column, a negative share."""
    mapping = torch.eye(WORDS, dtype=torch.float64)
    mapping[1, 1], mapping[1, 2], mapping[3, 2], mapping[4, 4] = 0.5, 0.7, -0.4, 0
    return mapping


GATE = torch.tensor([1, 0.5, 0, 1, 1, 0.3], dtype=torch.float64)
FACTORS = torch.tensor([1, 5, -1, 0, 1, 0.5], dtype=torch.float64)
COLUMNS = {
    "replace": from_source(mixing()),
    "gated": Columns(mixing() * GATE, 1 - GATE),
    "rescaled": Columns(None, FACTORS),
    "gated and rescaled": Columns(mixing() * GATE * FACTORS, (1 - GATE) * FACTORS),
    "normalised": Columns(None, FACTORS.abs(), True),
    "gated and normalised": Columns(mixing().abs() * GATE, 1 - GATE, True),
    "added": Columns(mixing() * GATE),
}


@dataclass(frozen=True)
class Given(WordEdit):
    """Columns as they are given, the same at every step."""

    columns: Columns

    def change(self, columns: Columns, source: Prompt, target: Prompt) -> Columns:
        return self.columns

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        return torch.ones(target.keys, dtype=torch.float64)


ALL = Window(0.0, 1.0)
SELVES = {"inject": (SelfInject(ALL, side=1.0), {"q", "k"}), "mutual": (MutualSelfAttention(0, 0), {"k", "v"})}


def controlled(toy: Toy, edits: list[Edit]) -> Tensor:
    with mm.control(toy.model, edits, prompts=PROMPTS) as control:
        control.at(0, 10)
        return toy()


def edits_of(toy: Toy, columns: Columns = NEUTRAL, takes: frozenset[str] = frozenset()) -> list[MapEdit]:
    """For rows [negative source, negative target, source, target], or [source, target] where guidance is distilled."""
    rows = len(toy.given["encoder_hidden_states"])
    edits = [MapEdit(rows - 1, rows - 2, columns, takes)]
    return [MapEdit(1, 0, takes=takes), *edits] if rows == 4 and takes == {"k", "v"} else edits


def matches(toy: Toy, edits: list[Edit], expected: Tensor) -> None:
    plain, found = toy(), controlled(toy, edits)
    assert (found - expected).abs().max() <= 1e-12 * max(1.0, float(expected.abs().max()))
    assert (plain[-1] - found[-1]).abs().max() > 1e-3
    assert torch.equal(found[-2], plain[-2])
    assert torch.equal(found[0], plain[0])
    assert torch.equal(toy(), plain)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("name", COLUMNS)
def test_words(family: Callable[[], Toy], name: str) -> None:
    toy = family()
    matches(toy, [Given(COLUMNS[name])], map_form(toy, edits_of(toy, COLUMNS[name]), family in TEXT_FIRST))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("name", SELVES)
def test_pixels(family: Callable[[], Toy], name: str) -> None:
    toy = family()
    edit, takes = SELVES[name]
    matches(toy, [edit], map_form(toy, edits_of(toy, takes=frozenset(takes)), family in TEXT_FIRST))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("name", ["replace", "gated", "normalised", "rescaled"])
@pytest.mark.parametrize("pixels", SELVES)
def test_words_and_pixels(family: Callable[[], Toy], name: str, pixels: str) -> None:
    toy = family()
    edit, takes = SELVES[pixels]
    expected = map_form(toy, edits_of(toy, COLUMNS[name], frozenset(takes)), family in TEXT_FIRST)
    matches(toy, [Given(COLUMNS[name]), edit], expected)


def test_words_of_sana() -> None:
    toy = denoisers.sana()
    matches(toy, [Given(COLUMNS["gated"])], map_form(toy, edits_of(toy, COLUMNS["gated"])))


@pytest.mark.parametrize(("edit", "takes"), SELVES.values(), ids=SELVES)
def test_trap_pixels_of_sanas_linear_attention(edit: Edit, takes: set[str]) -> None:
    """Against its map, written out: relu(q) relu(k)^T, rows divided by their sums."""
    toy = denoisers.sana()
    toy.model.to(torch.float32)  # which the library computes it in
    toy.given.update({name: given.float() for name, given in toy.given.items() if given.is_floating_point()})
    attentions = [block.attn1 for block in toy.model.transformer_blocks]

    class Maps:
        def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: None = None, attention_mask: None = None) -> Tensor:
            q, k, v = (project(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2) for project in (attn.to_q, attn.to_k, attn.to_v))
            maps = q.relu() @ k.relu().transpose(-1, -2)
            values = list(v)
            for row, source in ((3, 2), *(((1, 0),) if "v" in takes else ())):
                operands = [x[source] if role in takes else x[row] for role, x in (("q", q), ("k", k))]
                maps = maps.index_copy(0, torch.tensor([row]), (operands[0].relu() @ operands[1].relu().transpose(-1, -2))[None])
                values[row] = v[source] if "v" in takes else v[row]
            out = maps / (maps.sum(-1, keepdim=True) + 1e-15) @ torch.stack(values)
            return attn.to_out[0](out.transpose(1, 2).flatten(2))

    stock = [attention.processor for attention in attentions]
    for attention in attentions:
        attention.processor = Maps()
    expected = toy()
    for attention, processor in zip(attentions, stock, strict=True):
        attention.processor = processor
    plain, found = toy(), controlled(toy, [edit])
    assert (found - expected).abs().max() < 2e-5
    assert (found[3] - plain[3]).abs().max() > 1e-3
    assert torch.equal(found[2], plain[2])
