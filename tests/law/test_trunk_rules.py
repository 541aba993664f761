"""Rules for the rows that predict an answer leave the end of a shared trunk alone, and questions that part before a picture share nothing."""
from pathlib import Path

import numpy as np
import pytest
import torch

import mm
from mm.masks import Causal, ImageBlock
from mm.models import Branches
from mm.models.continuation import Trunks
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Restart
from mm.reweight import PAI, HeadGate, Rule, ZeroTuning
from mm.sample import Media, Sample, Turn
from tests.answering import made
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
