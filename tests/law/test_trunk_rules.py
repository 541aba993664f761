"""Rules for the rows that predict an answer leave the end of a shared trunk alone, and questions that part before a picture share nothing."""
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mm
from mm.masks import Causal, ImageBlock, SinkWindow
from mm.models import Branches
from mm.models.continuation import Trunks
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Restart
from mm.reweight import ACT, CMAI, MODA, PAI, HeadGate, Rule, ZeroTuning
from mm.sample import Media, Sample, Turn
from tests.answering import made
from tests.law.test_paint import llava
from tests.processors import directory

ALIKE = ("What do you", "What do you see ?", "What do you see ? Is there")
RULES = {"pai": PAI(alpha=0.9, first_layer=0), "gate": HeadGate(0), "zerotuning": ZeroTuning(gamma=0.3)}


def samples(questions: tuple[str, ...], images: int = 1) -> list[Sample]:
    rng = np.random.default_rng(0)
    media = tuple(Media(rng.integers(0, 256, (1, 8, 12, 3), dtype=np.uint8)) for _ in range(images))
    return [Sample(str(i), media, (Turn(question),)) for i, question in enumerate(questions)]


def read_as_alone(vlm: PretrainedVLM, asked: list[Sample]) -> bool:
    """Whether they shared a trunk, too."""
    together = PretrainedPrompt(vlm, asked).continuation()
    alone = torch.cat([PretrainedPrompt(vlm, [sample]).continuation().begin() for sample in asked])
    torch.testing.assert_close(together.begin(), alone, atol=5e-4, rtol=1e-4)
    return isinstance(together, Trunks)


@pytest.mark.parametrize("rule", RULES)
def test_the_end_of_a_trunk_predicts_no_answer(rule: str) -> None:
    rules: list[Rule] = [RULES[rule]]
    vlm = made(ImageBlock(), Restart(), Branches())
    asked = samples(("<image>is there a star ?", "<image>is there a ring ?", "<image>is there a red moon ?"))
    together = VLMPrompt(vlm, asked, rules=rules).continuation()
    assert isinstance(together, Trunks)
    alone = torch.cat([VLMPrompt(vlm, [sample], rules=rules).continuation().begin() for sample in asked])
    torch.testing.assert_close(together.begin(), alone, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [CMAI, MODA, ACT])
def test_a_rule_that_wants_the_whole_prompt_shares_none_of_it(kind: type[CMAI | MODA | ACT], tmp_path: Path) -> None:
    """Words that questions begin with alike would be read before the others, and what the rule makes of these would differ."""
    rule = ACT(threshold=0.02, first_layer=0) if kind is ACT else kind(first_layer=0)
    vlm = made(ImageBlock(), Restart(), Branches())
    if isinstance(rule, MODA):
        vlm.language.rules([rule])  # it has parameters once it knows the model
        torch.manual_seed(0)
        for parameter in rule.parameters():
            torch.nn.init.normal_(parameter)
    asked = samples(("<image>is there a star ?", "<image>is there a ring ?", "<image>is there a red moon ?"))
    together = VLMPrompt(vlm, asked, rules=[rule])
    assert not together.shares
    alone = torch.cat([VLMPrompt(vlm, [sample], rules=[rule]).continuation().begin() for sample in asked])
    torch.testing.assert_close(together.continuation().begin(), alone, atol=2e-5, rtol=1e-5)
    if kind is not MODA:  # which knows the other model now
        pretrained = PretrainedVLM.load(directory("llava", tmp_path))
        with mm.steer(pretrained.model, reweight=[rule]):
            assert not read_as_alone(pretrained, samples(tuple(f"<image>\n{question}" for question in ALIKE)))


def test_cmai_says_that_it_cannot_go_on_behind_words_whose_weights_are_gone() -> None:
    model, batch = llava().model(), llava().inputs(["sIqqqq"])
    ids, real = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad(), mm.steer(model, reweight=[CMAI(first_layer=0)]):
        assert model.generate(**batch, max_new_tokens=3, do_sample=False).shape[1] == ids.shape[1] + 3
        begun = model(**{**batch, "input_ids": ids[:, :-2], "attention_mask": real[:, :-2]}, use_cache=True)
        with pytest.raises(ValueError, match=r"CMAI\(first_layer=0\) needs the weights of all text rows behind an image"):
            model(input_ids=ids[:, -2:], attention_mask=real, past_key_values=begun.past_key_values)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["llava", "paligemma"])
def test_the_end_of_a_trunk_of_a_pretrained_model_predicts_no_answer(name: str, rule: str, tmp_path: Path) -> None:
    vlm = PretrainedVLM.load(directory(name, tmp_path))
    with mm.steer(vlm.model, mask=Causal() if name == "paligemma" else None, reweight=[RULES[rule]]):
        read_as_alone(vlm, samples(tuple(f"<image>\n{question}" for question in ALIKE)))


@pytest.mark.parametrize("questions", [
    ("What <image> do you see ?", "What do <image> you see ?"), ("<image> Is <image> a star ?", "<image> Is there <image> a star ?")],
    ids=["one", "two"])
def test_questions_that_part_before_a_picture_share_nothing(questions: tuple[str, ...], tmp_path: Path) -> None:
    vlm = PretrainedVLM.load(directory("llava", tmp_path))
    assert not read_as_alone(vlm, samples(questions, questions[0].count("<image>")))


@pytest.mark.parametrize("then", [{"reweight": [PAI(first_layer=0)]}, {"mask": SinkWindow(1, 2)}, None], ids=["a rule", "a mask", "none"])
def test_levers_that_change_while_a_prompt_is_shared_are_refused(then: dict[str, Any] | None, tmp_path: Path) -> None:
    """The keys that are shared know nothing of them; where none are shared, rows go on under what is there, but for a rule that has not looked at
    them."""
    vlm = PretrainedVLM.load(directory("llava", tmp_path))
    asked = samples(tuple(f"<image>\n{question}" for question in ALIKE))
    with mm.steer(vlm.model, mask=Causal()):
        shared, alone = PretrainedPrompt(vlm, asked).continuation(), PretrainedPrompt(vlm, asked[:1]).continuation()
        ids = [each.begin().argmax(-1) for each in (shared, alone)]
        with mm.steer(vlm.model, **then) if then else nullcontext():
            if then and "reweight" in then:
                with pytest.raises(ValueError, match=r"PAI\(first_layer=0\) has not seen the first 12 tokens of the prompt"):
                    alone.step(ids[1])
            elif then:
                alone.step(ids[1])
            if then:
                with pytest.raises(ValueError, match="read under other levers"):
                    shared.step(ids[0])
    if then is None:
        alone.step(ids[1])
        with pytest.raises(ValueError, match="read under other levers"):
            shared.step(ids[0])
