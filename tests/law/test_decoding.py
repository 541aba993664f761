"""Decoding from continuations: what `generate` gives, whoever is in the batch, whatever is shared; a contrast is a continuation like another."""
import pytest
import torch

from data.world import Scenes
from mm.decoding import VCD, Greedy, Plain, Sampled, decoded
from mm.masks import Causal, ImageBlock, Mask, ModalityMutual
from mm.models import VLM, Branches, Dialogue, Layout
from mm.models.continuation import Trunks
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Concentric, Positions, Restart, Sequential
from mm.reweight import PAI, Rule, ZeroTuning
from mm.sample import Sample, Turn
from tests.answering import made

QUESTIONS = ("is there a star ?", "is there a ring ?", "describe the image .", "is there a red moon left of a blue ring ?")


@pytest.fixture(scope="module")
def toy() -> VLM:
    return made(ImageBlock(), Restart(), Branches())


def samples(pictures: int = 2, questions: int = 4) -> list[Sample]:
    """Questions about the same pictures, whose media are the same objects."""
    scenes = Scenes("test", 10, 0, questions=0)
    media = [scenes[i].media for i in range(pictures)]
    return [Sample(f"{i}/{k}", media[i], (Turn(f"<image>\n{QUESTIONS[k]}"),)) for i in range(pictures) for k in range(questions)]


def texts(vlm: VLM, asked: list[Sample], limit: int = 12) -> list[str]:
    prompt = VLMPrompt(vlm, asked)
    return [prompt.decode(ids) for ids in Plain().decode(prompt, limit)]


@pytest.mark.parametrize(("mask", "positions", "layout"), [
    (ImageBlock(), Restart(), Branches()), (Causal(), Sequential(), Dialogue()), (ImageBlock(), Concentric(), Dialogue()),
    (ModalityMutual(), Sequential(), Dialogue())], ids=["branches", "causal", "concentric", "mutual"])
def test_a_decoded_answer_is_what_generate_gives(mask: Mask, positions: Positions, layout: Layout) -> None:
    vlm = made(mask, positions, layout)
    asked = samples()
    assert texts(vlm, asked) == [vlm.generate([sample], max_new_tokens=12)[0] for sample in asked]


def test_questions_about_a_picture_are_read_behind_one_copy_of_it(toy: VLM) -> None:
    asked = samples()
    prompt = VLMPrompt(toy, asked)
    shared, alone = prompt.continuation(), [VLMPrompt(toy, [sample]).continuation() for sample in asked]
    assert isinstance(shared, Trunks)
    assert len(shared.inputs["attention_mask"]) == 2
    first = torch.cat([each.begin() for each in alone])
    torch.testing.assert_close(shared.begin(), first, atol=1e-5, rtol=1e-5)
    ids = first.argmax(-1)
    torch.testing.assert_close(shared.step(ids), torch.cat([each.step(ids[i:i + 1]) for i, each in enumerate(alone)]), atol=1e-5, rtol=1e-5)


def test_questions_that_begin_alike_are_read_as_if_alone(toy: VLM) -> None:
    asked = samples(2, 2)
    alone = torch.cat([VLMPrompt(toy, [sample]).continuation().begin() for sample in asked])
    torch.testing.assert_close(VLMPrompt(toy, asked).continuation().begin(), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rule", [PAI(alpha=0.9, first_layer=0), ZeroTuning(gamma=0.3)], ids=["pai", "zerotuning"])
def test_rules_go_on_from_a_shared_picture(toy: VLM, rule: Rule) -> None:
    asked = samples()
    shared = VLMPrompt(toy, asked, rules=[rule]).continuation()
    alone = [VLMPrompt(toy, [sample], rules=[rule]).continuation() for sample in asked]
    plain = VLMPrompt(toy, asked).continuation().begin()
    assert isinstance(shared, Trunks)
    first = torch.cat([each.begin() for each in alone])
    assert not torch.allclose(first, plain, atol=1e-4), "the rule does something"
    torch.testing.assert_close(shared.begin(), first, atol=1e-5, rtol=1e-5)


def test_a_mask_that_shows_the_picture_the_question_shares_nothing() -> None:
    vlm = made(ModalityMutual(), Sequential(), Dialogue())
    assert not isinstance(VLMPrompt(vlm, samples()).continuation(), Trunks)


def test_rows_that_leave_or_come_again_go_on_as_if_alone(toy: VLM) -> None:
    asked = samples()
    whole = VLMPrompt(toy, asked).continuation()
    ids = whole.begin().argmax(-1)
    one_by_one = VLMPrompt(toy, asked).continuation()
    one_by_one.begin()
    rows = torch.tensor([6, 1, 1])
    one_by_one.select(rows)
    torch.testing.assert_close(one_by_one.step(ids[rows]), whole.step(ids)[rows], atol=1e-5, rtol=1e-5)


def test_sampling_draws_for_each_row_by_itself(toy: VLM) -> None:
    asked = samples(1)
    together = decoded(VLMPrompt(toy, asked).continuation(), toy.processor.stop_ids, 8, Sampled(1.5, seed=3))
    assert together == decoded(VLMPrompt(toy, asked).continuation(), toy.processor.stop_ids, 8, Sampled(1.5, seed=3))
    assert together != decoded(VLMPrompt(toy, asked).continuation(), toy.processor.stop_ids, 8, Sampled(1.5, seed=4))
    assert together[0] == decoded(VLMPrompt(toy, asked[:1]).continuation(), toy.processor.stop_ids, 8, Sampled(1.5, seed=3))[0]
    with pytest.raises(ValueError, match="temperature is 0"):
        Sampled(0)


def test_a_begun_answer_is_gone_on_with(toy: VLM) -> None:
    media = samples(1, 1)[0].media
    begun = VLMPrompt(toy, [Sample("a", media, (Turn("<image>\ndescribe the image .", "there is"),))])
    asked = VLMPrompt(toy, [Sample("a", media, (Turn("<image>\ndescribe the image ."),))])
    long = asked.continuation()
    long.begin()
    ids = toy.language.tokenizer("there is", add_special_tokens=False)["input_ids"]
    for token in ids:
        last = long.step(torch.tensor([token]))
    torch.testing.assert_close(begun.continuation().begin(), last, atol=1e-5, rtol=1e-5)


def test_a_contrast_without_strength_is_the_plain_model_to_the_bit(toy: VLM) -> None:
    prompt = VLMPrompt(toy, samples())
    assert torch.equal(VCD(alpha=0.0, beta=0.0).continuation(prompt).begin(), prompt.continuation().begin())
    assert VCD(alpha=0.0).decode(prompt, 8, Greedy()) == Plain().decode(prompt, 8)


@pytest.mark.parametrize("texts", [("star", "ring"), ("star", "star")], ids=["others", "the same"])
def test_questions_that_begin_alike_stay_in_their_branches(toy: VLM, texts: tuple[str, str]) -> None:
    media = samples()[0].media
    asked = [Sample(str(i), media, (Turn(f"<image>\nis there a {text} ?"),)) for i, text in enumerate(texts)]
    shared, alone = VLMPrompt(toy, asked).continuation(), [VLMPrompt(toy, [sample]).continuation() for sample in asked]
    assert isinstance(shared, Trunks)
    first = torch.cat([each.begin() for each in alone])
    torch.testing.assert_close(shared.begin(), first, atol=1e-5, rtol=1e-5)
    ids = first.argmax(-1)
    torch.testing.assert_close(shared.step(ids), torch.cat([each.step(ids[i:i + 1]) for i, each in enumerate(alone)]), atol=1e-5, rtol=1e-5)
