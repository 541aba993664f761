"""Prompts of samples to pretrained models: questions share a picture where the family lets them, and say what each says alone."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mm
from mm.decoding import VCD, Plain, spoken
from mm.masks import ContextBidirectional
from mm.models.continuation import Trunks
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.reweight import PAI
from mm.sample import Media, Sample, Turn
from tests.processors import PROCESSORS, directory

QUESTIONS = ("Is there a star in the picture ?", "What do you see ?", "Is there a ring ?", "Is there a moon ?")
NAMES = sorted(PROCESSORS)
SHARING = [name for name in NAMES if name not in ("paligemma", "gemma3")]  # the latter slides


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    made: dict[str, PretrainedVLM] = {}

    def get(name: str) -> PretrainedVLM:
        if name not in made:
            made[name] = PretrainedVLM.load(directory(name, Path(tmp_path_factory.mktemp(name))))
        return made[name]

    return get


def samples(images: int = 1) -> list[Sample]:
    """Three questions about one set of pictures, one about another, of another size."""
    rng = np.random.default_rng(0)
    shown = [tuple(Media(rng.integers(0, 256, (1, side, 12, 3), dtype=np.uint8)) for _ in range(images)) for side in (8, 20)]
    head = "<image>" * images + "\n"
    return [Sample(str(i), shown[i // 3], (Turn(head + question),)) for i, question in enumerate(QUESTIONS)]


@pytest.mark.parametrize("name", NAMES)
def test_questions_share_a_picture_and_are_read_as_alone(load, name: str) -> None:  # noqa: ANN001
    vlm = load(name)
    asked = samples()
    together = PretrainedPrompt(vlm, asked).continuation()
    assert isinstance(together, Trunks) is (name in SHARING)
    alone = [PretrainedPrompt(vlm, [sample]).continuation() for sample in asked]
    first = torch.cat([each.begin() for each in alone])
    torch.testing.assert_close(together.begin(), first, atol=5e-4, rtol=1e-4)
    ids = first.argmax(-1)
    torch.testing.assert_close(together.step(ids), torch.cat([each.step(ids[i:i + 1]) for i, each in enumerate(alone)]), atol=5e-4, rtol=1e-4)
    assert [vlm.text_of([ids])[0] for ids in Plain().decode(PretrainedPrompt(vlm, asked), 6)] == vlm.generate(asked, max_new_tokens=6)


@pytest.mark.parametrize("name", NAMES)
def test_given_answers_have_the_probability_that_scoring_gives_them(load, name: str) -> None:  # noqa: ANN001
    vlm = load(name)
    asked = samples()
    prompt = PretrainedPrompt(vlm, [*asked, *asked])
    given = [prompt.encode(word) for word in ("yes", "no") for _ in asked]
    found = torch.tensor([each.logp for each in spoken(prompt.continuation(), prompt.stop_ids, 1, given)]).view(2, -1).T
    torch.testing.assert_close(found, vlm.score(asked, ("yes", "no")), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3", "paligemma"])
def test_a_begun_answer_is_gone_on_with(load, name: str) -> None:  # noqa: ANN001
    vlm = load(name)
    asked = samples()
    begun = PretrainedPrompt(vlm, [replace(sample, turns=(replace(sample.turns[0], answer="yes"),)) for sample in asked]).continuation().begin()
    plain = PretrainedPrompt(vlm, asked).continuation()
    plain.begin()
    word = vlm.begin(asked[0], "yes")
    assert len(word) == 1
    torch.testing.assert_close(begun, plain.step(torch.tensor([word[0]] * len(asked))), atol=5e-4, rtol=1e-4)


def test_several_pictures_a_question(load) -> None:  # noqa: ANN001
    vlm = load("qwen2_vl")
    asked = samples(2)
    together = PretrainedPrompt(vlm, asked).continuation()
    assert isinstance(together, Trunks)
    alone = torch.cat([PretrainedPrompt(vlm, [sample]).continuation().begin() for sample in asked])
    torch.testing.assert_close(together.begin(), alone, atol=5e-4, rtol=1e-4)


def test_levers_hold_behind_shared_pictures_or_nothing_is_shared(load) -> None:  # noqa: ANN001
    vlm = load("llava")
    asked = samples()
    plain = PretrainedPrompt(vlm, asked).continuation().begin()
    with mm.steer(vlm.model, reweight=[PAI(alpha=2.0, first_layer=0)]):
        together = PretrainedPrompt(vlm, asked).continuation()
        assert isinstance(together, Trunks)
        found = together.begin()
        alone = torch.cat([PretrainedPrompt(vlm, [sample]).continuation().begin() for sample in asked])
        assert not torch.allclose(alone, plain, atol=1e-2)
        torch.testing.assert_close(found, alone, atol=5e-4, rtol=1e-4)
    with mm.steer(vlm.model, mask=ContextBidirectional()):
        assert not isinstance(PretrainedPrompt(vlm, asked).continuation(), Trunks)


def test_branches_change_words_pictures_and_pixels(load) -> None:  # noqa: ANN001
    vlm = load("qwen2_5_vl")
    prompt = PretrainedPrompt(vlm, samples())
    plain = prompt.continuation().begin()
    other = [Sample(sample.id, sample.media, (Turn(sample.turns[0].question.replace("Is", "no Is")),)) for sample in samples()]
    torch.testing.assert_close(prompt.reworded(lambda question: question.replace("Is", "no Is")).continuation().begin(),
                               PretrainedPrompt(vlm, other).continuation().begin(), atol=5e-4, rtol=1e-4)
    dark = prompt.pictured([lambda frames, medium: frames * 0] * 4).continuation().begin()
    assert not torch.allclose(dark, plain, atol=1e-2)
    torch.testing.assert_close(VCD(alpha=1.0, beta=0.0, noise_step=900).continuation(prompt).begin(),
                               2 * plain - prompt.noised(VCD(noise_step=900).noised).continuation().begin(), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(prompt.without_media().continuation().begin(), plain, atol=1e-2)
