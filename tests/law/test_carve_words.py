"""What CARVE compares: the question and an instruction, both with a suffix, and no more of their answers than counts."""
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mm.decoding import CARVE, decoded
from mm.masks import ImageBlock
from mm.models import VLM, Branches
from mm.models.continuation import Continuation, counted
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Restart
from mm.sample import Sample, Turn
from tests.answering import made
from tests.law.test_decoding import samples

GENERAL = "what is left of the moon ?"


@pytest.fixture(scope="module")
def toy() -> VLM:
    return made(ImageBlock(), Restart(), Branches())


def asked(question: str) -> list[Sample]:
    return [Sample("a", samples(1, 1)[0].media, (Turn(f"<image>\n{question}"),))]


def cut(toy: VLM, carve: CARVE, question: str) -> np.ndarray:
    carved = carve.carved(VLMPrompt(toy, asked(question)))
    assert isinstance(carved, VLMPrompt)
    assert carved.samples[0].turns == asked(question)[0].turns, "the last answer is to the question as it is"
    return carved.samples[0].media[0].frames


def test_the_suffix_follows_both_once(toy: VLM) -> None:
    carve = CARVE(general=GENERAL, layers=[0, 1], suffix="is it red ?")
    written_out = CARVE(general=f"{GENERAL} is it red ?", layers=[0, 1], suffix="")
    wanted = cut(toy, written_out, "is there a star ? is it red ?")
    assert np.array_equal(cut(toy, carve, "is there a star ?"), wanted)
    assert np.array_equal(cut(toy, carve, "is there a star ? is it red ?"), wanted)
    assert not np.array_equal(cut(toy, CARVE(general=GENERAL, layers=[0, 1], suffix=""), "is there a star ?"), wanted)


def test_a_question_that_is_the_instruction_keeps_its_picture(toy: VLM) -> None:
    for suffix in ("", "is it red ?"):
        carve = CARVE(general=GENERAL, layers=[0, 1], suffix=suffix)
        assert np.array_equal(cut(toy, carve, GENERAL), asked(GENERAL)[0].media[0].frames)


def test_nothing_is_read_that_does_not_count(toy: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instruction's answer stops where the question's did, though it would go on."""
    def rows(**settings: object) -> int:
        with counted() as passes:
            CARVE(general=GENERAL, layers=[0], steps=4, suffix="", **settings).carved(VLMPrompt(toy, asked("is there a star ?")))  # type: ignore[arg-type]
        return passes.rows

    monkeypatch.setattr(toy.processor.chat.__class__, "stop_ids", property(lambda chat: []), raising=False)
    assert rows() == 4 + 4
    assert rows(over="first") == 1 + 1
    answers = iter([1, 4])  # tokens until each ends; toys repeat one token, so where they end is set here

    def ending(continuation: Continuation, stop_ids: Sequence[int], limit: int) -> list[list[int]]:
        ends = next(answers)
        return [answer[:ends] for answer in decoded(continuation, stop_ids, min(ends + 1, limit))]

    monkeypatch.setattr("mm.decoding.carve.decoded", ending)
    assert rows() == 2 + 2


def test_the_model_is_as_before(toy: VLM) -> None:
    prompt = VLMPrompt(toy, asked("is there a star ?"))
    before = prompt.continuation().begin()
    state = {name: value.clone() for name, value in toy.state_dict().items()}
    CARVE(general=GENERAL).decode(prompt, 4)
    assert torch.equal(prompt.continuation().begin(), before)
    assert all(torch.equal(value, state[name]) for name, value in toy.state_dict().items())
