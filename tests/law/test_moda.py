"""MODA's aligner in whole models: image keys are rewritten from the prompt once, every later step sees them, and answers and neighbours are never
read.
"""
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mm
from mm.attention import reweighted
from mm.masks import ModalityMutual
from mm.models import VLM, Branches
from mm.reweight import MODA, PAI
from tests.dense import Dense, causal, mutual
from tests.families import IMAGE, assert_stock
from tests.generation import (
    PROMPTS,
    STEPS,
    answers,
    assert_a_batch_is_its_rows,
    assert_a_dialogue_goes_on_behind_its_cache,
    assert_a_question_behind_its_image_s_cache_is_refused,
    assert_beams_or_static_are_single_dynamic_ones,
    assert_decoding_is_one_forward,
    beams_and_static,
    dense_ids,
    family,
    generate,
)
from tests.toys import random_qkv, row
from tests.vlms import about, assert_checkpointing_changes_no_gradient, assert_saving_keeps, toy

FAMILIES = ["llava", "qwen2_5_vl", "smolvlm", "llava_next"]


def learned(width: int = 8) -> MODA:
    """With parameters as training might leave them."""
    rule = MODA(first_layer=1)
    rule.bind(layers=3, heads=4)
    rule.measure(key_heads=2, width=width)
    assert rule.ratio is not None
    assert rule.map is not None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        rule.ratio += 0.5 * torch.randn(rule.ratio.shape, generator=generator)
        rule.map += 0.5 * torch.randn(rule.map.shape, generator=generator)
    return rule


class AlignedByHand(Dense):
    """MODA token by token and head by head, from its formula. image: bool [prompt]."""

    def __init__(self, visible: Tensor, rule: MODA, image: Tensor) -> None:
        super().__init__(visible)
        self.rule, self.image = rule, image

    def __call__(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Any, scaling: float | None = None, **_: Any) -> tuple[Tensor, None]:
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        if layer >= 1:
            k = self.aligned(layer, k, v)
        return super().__call__(module, q, k, v, mask, scaling)

    def aligned(self, layer: int, k: Tensor, v: Tensor) -> Tensor:
        assert self.rule.ratio is not None
        assert self.rule.map is not None
        out = k.clone()
        for head in range(k.shape[1]):
            unit = [(x + 1e-6) / (x + 1e-6).norm() for x in k[0, head]]
            said = sum(torch.outer(unit[t], v[0, head, t]) for t in (~self.image).nonzero().flatten().tolist())
            assert isinstance(said, Tensor)
            said = said / said.norm(dim=1, keepdim=True)
            for i in self.image.nonzero().flatten().tolist():
                out[0, head, i] = self.rule.map[layer] @ (k[0, head, i] + self.rule.ratio[layer] * (unit[i] @ said))
        return out


# --- what it computes


@pytest.mark.parametrize("mask", [None, ModalityMutual()], ids=["causal", "mutual"])
@pytest.mark.parametrize("name", ["llava", "smolvlm"])
def test_steered_ids_are_those_of_keys_rewritten_by_hand(name: str, mask: ModalityMutual | None) -> None:
    model, inputs, rule = family(name).model(), family(name).inputs(["ssIqqq"]), learned()
    image = inputs["input_ids"][0] == IMAGE
    length = len(image) + STEPS
    visible = causal(length) if mask is None else mutual(image, length)
    wanted = dense_ids(model, inputs, AlignedByHand(visible, rule, image))
    with mm.steer(model, mask=mask, reweight=[rule]):
        found = generate(model, inputs)
    assert torch.equal(answers(found)[0], wanted)
    assert (found.logits[0] - generate(model, inputs).logits[0]).abs().max() > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_a_padded_batch_is_its_rows_alone(name: str) -> None:
    toy_family = family(name)
    model = toy_family.model()
    with mm.steer(model, reweight=[learned()]):
        assert_a_batch_is_its_rows(toy_family, model, [*PROMPTS, "qqqq", "sIqIq"])


@pytest.mark.parametrize("rules", [[], [PAI(alpha=0.3, first_layer=0)]], ids=["alone", "before another rule"])
@pytest.mark.parametrize("name", [*FAMILIES, "gemma3"])
def test_decoding_is_one_forward_over_the_whole(name: str, rules: list[PAI]) -> None:
    """Gemma 3's layers slide over six tokens: rewritten keys leave the cache with their tokens."""
    toy_family = family(name)
    model = toy_family.model()
    with mm.steer(model, reweight=[learned(), *rules]):
        assert_decoding_is_one_forward(toy_family, model)


@beams_and_static
@pytest.mark.parametrize("name", ["llava", "gemma3"])
def test_beams_and_static_caches_are_those_of_single_dynamic_ones(name: str, settings: dict[str, Any]) -> None:
    toy_family = family(name)
    model = toy_family.model()
    with mm.steer(model, reweight=[learned()]):
        assert_beams_or_static_are_single_dynamic_ones(toy_family, model, settings)


def test_packed_documents_are_rewritten_from_their_own_text() -> None:
    texts, rule = ["ss iiiiii qqqq", "s iiii qqq jj qqa", "iiiii qq"], learned().double()
    tokens = row("/".join(texts))
    q, k, v = random_qkv(batch=1, queries=tokens.shape[1], keys=tokens.shape[1])
    with torch.no_grad():
        together = reweighted(q, k, v, [rule], tokens, mask=mm.masks.Causal().dense(tokens))
        for index, text in enumerate(texts):
            here = tokens.document[0] == index
            found = reweighted(q[:, :, here], k[:, :, here], v[:, :, here], [rule], row(text))
            torch.testing.assert_close(together[:, :, here], found, rtol=0, atol=1e-12)


# --- what it must not read


def test_no_answer_and_no_later_question_reaches_an_image() -> None:
    """The release sums over all text of a row, answers included."""
    text = "siiqqaaqjjqa"

    def picture(chosen: Tensor) -> str:
        return "".join(letter if one else "-" for letter, one in zip(text, chosen[0].tolist(), strict=True))

    spans = [[picture(span.keys), picture(span.sources)] for span in learned().spans(row(text))]
    assert spans == [["-ii---------", "s--qq-------"], ["--------jj--", "s--qq--q--q-"]]


def test_another_answer_changes_no_row_before_it() -> None:
    tokens, rule = row("siiqqaaqjjqa"), learned().double()
    q, k, v = random_qkv(batch=1, queries=12, keys=12)
    with torch.no_grad():
        plain = reweighted(q, k, v, [rule], tokens)
        for place, before in ((5, 5), (6, 6), (7, 7), (11, 11)):
            other_k, other_v = k.clone(), v.clone()
            other_k[:, :, place], other_v[:, :, place] = other_k[:, :, place] + 1, other_v[:, :, place] - 1
            other = reweighted(q, other_k, other_v, [rule], tokens)
            assert torch.equal(other[:, :, :before], plain[:, :, :before])
            assert not torch.equal(other[:, :, place:], plain[:, :, place:])


def test_branches_with_several_questions_are_refused_and_with_one_are_its_dialogue() -> None:
    rule = learned().double()
    with pytest.raises(ValueError, match="in row 0 an image stands before the questions of branches 1, 2; lay samples out"):
        rule.spans(row("s iii 1 qa 2 qa"))
    found, wanted = (rule.spans(row(text))[0] for text in ("s iii 1 qa", "s iii qa"))
    assert torch.equal(found.keys, wanted.keys)
    assert torch.equal(found.sources, wanted.sources)
    vlm = model(layout=Branches())
    vlm.next_token_logits([about(0)])
    two = vlm.processor.encode(about(0, ("is there a star ?", "yes"), ("is there a ring ?", "no")))
    with pytest.raises(ValueError, match="stands before the questions of branches"):
        vlm(vlm.processor.collate([two]))


def test_a_question_that_comes_in_a_later_piece_than_its_image_is_refused() -> None:
    toy_family = family("llava")
    model = toy_family.model()
    with mm.steer(model, reweight=[learned()]):
        assert_a_question_behind_its_image_s_cache_is_refused(toy_family, model)


def test_a_dialogue_goes_on_behind_its_cache() -> None:
    toy_family = family("llava")
    model = toy_family.model()
    with mm.steer(model, reweight=[learned()]):
        assert_a_dialogue_goes_on_behind_its_cache(toy_family, model)


# --- training


def model(**levers: Any) -> VLM:
    return toy(reweight=[MODA()], **levers)


def test_before_training_it_is_the_plain_model_to_the_bit() -> None:
    """Also while it learns: keys plus nothing, times the identity."""
    toy_family, rule = family("llava"), MODA()
    plain_model, inputs = toy_family.model(), toy_family.inputs(PROMPTS)
    with mm.steer(plain_model, reweight=[rule]):
        found = generate(plain_model, inputs)
    assert_stock(found, generate(plain_model, inputs))
    wanted = plain_model(**inputs).logits
    with mm.steer(plain_model, reweight=[rule]):
        assert torch.equal(plain_model(**inputs).logits, wanted)
    assert rule.ratio is not None


def test_it_learns_under_gradient_checkpointing_as_without() -> None:
    learned = ("reweight.0.ratio", "reweight.0.map")
    assert_checkpointing_changes_no_gradient(lambda checkpointed: model(gradient_checkpointing=checkpointed).train(), learned)


def test_gradients_are_those_of_the_formula() -> None:
    tokens, rule = row("ss iiii qqq"), learned().double()
    assert rule.ratio is not None
    assert rule.map is not None
    found = []
    for engine in (True, False):
        q, k, v = random_qkv(batch=1, queries=9, keys=9, grad=True)
        if engine:
            out = reweighted(q, k, v, [rule], tokens)
        else:
            keys = AlignedByHand(causal(9), rule, tokens.is_vision[0]).aligned(2, k, v)
            out = reweighted(q, keys, v, [], tokens)
        found.append(torch.autograd.grad(out.sin().sum(), [q, k, v, rule.ratio, rule.map]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        assert b.abs().max() > 0


def test_a_saved_model_answers_as_the_one_that_was_trained(tmp_path: Path) -> None:
    vlm = model()
    assert_saving_keeps(vlm, vlm.reweight[0].ratio, tmp_path)  # type: ignore[attr-defined]


def test_one_made_for_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="for 3 layers with heads 4 wide, and the model has 3 and 8"):
        mm.steer(family("llava").model(), reweight=[learned(width=4)]).install()
    with pytest.raises(ValueError, match="does not know how wide heads are"):
        reweighted(*random_qkv(batch=1, queries=4, keys=4), [MODA()], row("iiqq"))
