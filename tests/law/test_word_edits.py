"""Edits of words are the paper's on maps, the same in the space of values, and rest outside their windows."""
import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mm.diffusion.columns import NEUTRAL, Columns
from mm.diffusion.edit import WordEdit
from mm.diffusion.edits.refine import Refine
from mm.diffusion.edits.replace import Replace
from mm.diffusion.edits.rescale import Rescale
from mm.diffusion.gates import Steps, WordGates
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt, Span
from mm.diffusion.tokenise import tokenized_by
from mm.parts import build, describe
from tests.prompts import clip, composed, t5

SOURCE, SWAPPED, REFINED = "a photo of a cat on a mat", "a photo of a chinchilla on a mat", "a photo of a fluffy cat on a red mat"
CHAINS: dict[str, tuple[str, list[WordEdit]]] = {
    "replace": (SWAPPED, [Replace()]), "replace legacy": (SWAPPED, [Replace(legacy=True)]),
    "replace a word early": (SWAPPED, [Replace({"default_": 1.0, "chinchilla": 0.2})]),
    "refine": (REFINED, [Refine()]), "refine legacy": (REFINED, [Refine(legacy=True)]),
    "rescale": (SWAPPED, [Rescale(["chinchilla", "mat"], [5.0, -1.0])]), "rescale in bias": (SWAPPED, [Rescale("chinchilla", 5.0, mode="bias")]),
    "replace then rescale": (SWAPPED, [Replace(), Rescale("chinchilla", -2.0)]),
    "refine then rescale": (REFINED, [Refine(), Rescale(["fluffy", "cat"], [3.0, 0.5])]),
    "replace then bias": (SWAPPED, [Replace(), Rescale("mat", 4.0, mode="bias")]),
}


def read(*texts: str) -> list[Prompt]:
    """As SD3 does: CLIP and T5 side by side."""
    both = zip(tokenized_by(clip(20), texts), tokenized_by(t5(["a", "photo", "of", "cat", "on", "mat", "fluffy", "red"]), texts, 24), strict=True)
    return [Prompt(one.text, (one.spans[0], Span(20, 24, second.ids, second.pieces, second.before, second.after)))
            for one, other in both for second in other.spans]


def attention(keys: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Two queries and keys [1, 2, P, D], of source and target, and the target's values."""
    generator = torch.Generator().manual_seed(1)
    q0, q1 = torch.randn(2, 1, 2, 9, 8, dtype=torch.float64, generator=generator)
    k0, k1, v = torch.randn(3, 1, 2, keys, 8, dtype=torch.float64, generator=generator)
    return q0, k0, q1, k1, v


def softmax(q: Tensor, k: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)


def fused(columns: Columns, q0: Tensor, k0: Tensor, q1: Tensor, k1: Tensor, v: Tensor) -> Tensor:
    """Ordinary attentions over transformed values, of which a last column of ones gives the row sums."""
    sums = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    source, own = columns.filled(v.shape[-2], v)
    out = (torch.nn.functional.scaled_dot_product_attention(q0, k0, source @ sums)
           + torch.nn.functional.scaled_dot_product_attention(q1, k1, own[:, None] * sums))
    return out[..., :-1] / out[..., -1:] if columns.normalised else out[..., :-1]


@pytest.mark.parametrize("step", [0, 10, 39, 40])
@pytest.mark.parametrize("name", CHAINS)
def test_fused_equals_map_form(name: str, step: int) -> None:
    text, edits = CHAINS[name]
    source, target = read(SOURCE, text)
    columns = composed(edits, source, target, Moment(step, 50))
    q0, k0, q1, k1, v = attention(source.keys)
    edited = columns.on_maps(softmax(q0, k0), softmax(q1, k1)) @ v
    torch.testing.assert_close(fused(columns, q0, k0, q1, k1, v), edited, rtol=0, atol=1e-12)
    plain = softmax(q1, k1) @ v
    acts = step < 40 or name == "replace a word early"
    assert ((edited - plain).abs().max() > 0.01) == acts


@pytest.mark.parametrize("edit", [Replace, Refine])
def test_an_identical_prompt_gets_the_source_s_map_exactly(edit: type[Replace] | type[Refine]) -> None:
    source, target = read(SOURCE, SOURCE)
    columns = composed([edit(1)], source, target, Moment(49, 50))
    q0, k0, q1, k1, _ = attention(source.keys)
    assert torch.equal(columns.on_maps(softmax(q0, k0), softmax(q1, k1)), softmax(q0, k0))
    assert columns.own is not None
    assert not columns.own.any()


def test_replaced_maps_keep_their_mass() -> None:
    source, target = read(SOURCE, SWAPPED)
    q0, k0, q1, k1, _ = attention(source.keys)
    columns = composed([Replace()], source, target, Moment(0, 50))
    torch.testing.assert_close(columns.on_maps(softmax(q0, k0), softmax(q1, k1)).sum(-1), torch.ones(1, 2, 9, dtype=torch.float64))
    shorter = composed([Replace()], target, source, Moment(0, 50))
    assert shorter.own is not None
    assert shorter.own.nonzero()[:, 0].tolist()[:2] == [18, 19]  # pads of CLIP that no pad of the source is left for


def test_bias_is_log_value_added_to_the_words_scores() -> None:
    source, target = read(SOURCE, SWAPPED)
    q0, k0, q1, k1, v = attention(source.keys)
    edit = Rescale(["chinchilla", "mat"], [5.0, 0.5], mode="bias")
    factors = edit.factors(target).double()
    scores = q1 @ k1.transpose(-1, -2) / 8 ** 0.5
    columns = composed([edit], source, target, Moment(0, 50))
    biased = (scores + factors.log()).softmax(-1)
    torch.testing.assert_close(columns.on_maps(softmax(q0, k0), softmax(q1, k1)), biased, rtol=0, atol=1e-12)
    torch.testing.assert_close(fused(columns, q0, k0, q1, k1, v), biased @ v, rtol=0, atol=1e-12)
    scaled = composed([Rescale(["chinchilla", "mat"], [5.0, 0.5])], source, target, Moment(0, 50)).on_maps(softmax(q0, k0), softmax(q1, k1))
    torch.testing.assert_close(scaled, softmax(q1, k1) * factors)
    assert (scaled.sum(-1) - 1).abs().max() > 0.05


def test_rescaling_alone_is_of_its_own_map_and_behind_replacing_of_the_source_s() -> None:
    source, target = read(SOURCE, SOURCE)
    q0, k0, q1, k1, _ = attention(source.keys)
    maps, edit = (softmax(q0, k0), softmax(q1, k1)), Rescale("cat", 3.0)
    factors = edit.factors(target).double()
    torch.testing.assert_close(composed([edit], source, target, Moment(0, 50)).on_maps(*maps), maps[1] * factors)
    torch.testing.assert_close(composed([Replace(), edit], source, target, Moment(0, 50)).on_maps(*maps), maps[0] * factors)


@pytest.mark.parametrize("edits", [[Rescale("cat", 1.0)], [Rescale("cat", 1.0, mode="bias")], [Replace(0)], [Refine((0.5, 0.5))]],
                         ids=["scale", "bias", "replace", "refine"])
def test_neutral_edits_are_neutral(edits: Sequence[WordEdit]) -> None:
    source, target = read(SOURCE, SOURCE)
    assert composed(edits, source, target, Moment(0, 50)).is_neutral
    assert composed(edits, source, target, Moment(25, 50)).is_neutral


# --- gates


@pytest.mark.parametrize(("steps", "run", "last"), [(0.8, 50, 39), (0.8, 10, 7), (1, 50, 49), (1.0, 4, 3), ((0, 0.5), 3, 1)])
def test_gates_close_as_the_original_counts(steps: Steps, run: int, last: int) -> None:
    [target] = read(SOURCE)
    gates = WordGates(steps)
    assert [bool(gates.gate(target, Moment(step, run)).all()) for step in range(run)] == [step <= last for step in range(run)]


def test_t5_whole_numbers_are_shares() -> None:
    [target] = read(SOURCE)
    for bounds in ((0, 1), (0.0, 1.0)):
        for steps in (bounds, {"default_": bounds}, {"cat": bounds, "default_": 0}):
            gate = WordGates(steps).gate(target, Moment(49, 50))
            assert gate.sum() == (2 if "cat" in str(steps) else target.keys)


def test_a_word_opens_and_closes_at_all_its_keys_and_a_later_one_wins() -> None:
    [target] = read(SWAPPED)
    gates = WordGates({"default_": 0.0, "chinchilla": (0.2, 0.6), "a chinchilla": (0.0, 0.1)})
    counts = [int(gates.gate(target, Moment(step, 50)).sum()) for step in range(50)]
    keys = 1 + 1 + 3 + 11  # with the mark of its start, T5 has letters
    assert counts[0] == keys
    assert set(counts[5:]) == {0}
    assert {one for one, other in pairwise(counts) if one != other} == {keys}


def test_a_window_s_word_must_be_in_some_target() -> None:
    source, swapped, refined = read(SOURCE, SWAPPED, REFINED)
    for edit in (Replace({"fluffy": 0.5}), Refine({"fluffy": 0.5}), Rescale("mat", 2.0, {"fluffy": 0.5})):
        with pytest.raises(ValueError, match="has no word 'fluffy'"):
            edit.check([source, swapped])
    Refine({"fluffy": 0.5}).check([source, swapped, refined])
    with pytest.raises(ValueError, match="from a share of the steps to a later one"):
        Replace(1.2)
    with pytest.raises(ValueError, match=r"its start and stop; got \[0.1, 0.2, 0.3\]"):
        Refine({"mat": (0.1, 0.2, 0.3)})  # type: ignore[dict-item]


@pytest.mark.parametrize("edit", [
    Replace({"default_": 1.0, "lion": (0.2, 0.6)}, legacy=True), Refine((0, 0.5)), Rescale(["fluffy", 2], [3.0, -1], 0.5),
    Rescale("fluffy", 3.0, mode="bias"),
], ids=["replace", "refine", "rescale", "bias"])
def test_edits_can_be_written_down_and_built_again(edit: WordEdit) -> None:
    written = json.loads(json.dumps(describe(edit)))
    assert written["class_path"] == f"mm.diffusion.{type(edit).__name__}"
    built = build(written)
    assert json.loads(json.dumps(describe(built))) == written
    [target] = read(REFINED)
    assert all(torch.equal(built.gate(target, Moment(step, 10)), edit.gate(target, Moment(step, 10))) for step in range(10))


# --- what cannot be


def test_edits_that_cannot_act_say_so_before_the_run() -> None:
    source, swapped, refined = read(SOURCE, SWAPPED, REFINED)
    with pytest.raises(ValueError, match=r"has 8 and .* has 10: use Refine"):
        Replace().check([source, swapped, refined])
    Replace().check([source, swapped])
    with pytest.raises(ValueError, match="'a photo of a chinchilla on a mat' has no word 'cat'"):
        Rescale("cat", 2.0).check([source, swapped])
    with pytest.raises(ValueError, match="same lengths"):
        Refine().check([source, *tokenized_by(clip(20), [SOURCE])])
    with pytest.raises(ValueError, match=r"2 words \['cat', 'mat'\] and 1 values \[2.0\]; give a value a word"):
        Rescale(["cat", "mat"], [2.0])
    with pytest.raises(ValueError, match="needs positive values, got"):
        Rescale("cat", -1.0, mode="bias")
    assert Rescale([4, "on"], (2, 3)).change(NEUTRAL, source, swapped).own is not None
