"""A VLM as an answerer: sharing a picture between questions and forcing candidates change how much is computed, not what comes out."""
from pathlib import Path

import pytest
import torch

from eval.chair import CHAIR
from eval.frame.benchmark import Benchmark, Item
from eval.frame.model import Model
from eval.frame.runner import run
from eval.pope import POPE
from mm.masks import Causal, Mask, Prefix
from mm.models import VLM, Branches, Dialogue, Layout
from mm.positions import Positions, Restart, Sequential
from mm.reweight import MODA
from mm.sample import Sample, Turn
from tests.answering import CANDIDATES, holds, made, questions, saved
from tests.vlms import picture, toy


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run"))


def test_answers_are_those_of_each_question_alone(directory: Path) -> None:
    model = Model(str(directory))
    holds(VLM.load(directory), model, questions())
    assert {answer.text for answer in model.answer(questions(), 8)} <= set(CANDIDATES)  # else forcing was not tried at all


@pytest.mark.parametrize("setting", [(Causal(), Sequential(), Dialogue()), (Prefix(), Sequential(), Dialogue()), (Prefix(), Restart(), Branches())],
                         ids=lambda setting: " ".join(type(part).__name__ for part in setting))
def test_sharing_a_picture_is_exact_or_not_done(tmp_path: Path, setting: tuple[Mask, Positions, Layout]) -> None:
    vlm = made(*setting)
    vlm.save(tmp_path)
    holds(vlm, Model(str(tmp_path), rows=3), questions())


def test_a_picture_that_reads_its_question_is_shared_by_none(tmp_path: Path) -> None:
    vlm = made(Causal(), Restart(), Branches())
    vlm.reweight = vlm.language.rules([MODA()])
    torch.nn.init.normal_(vlm.reweight[0].ratio)  # type: ignore[attr-defined]
    vlm.save(tmp_path)
    holds(vlm, Model(str(tmp_path), rows=3), questions())


def test_a_row_that_would_be_too_long_is_split(directory: Path) -> None:
    model, whole = Model(str(directory)), Model(str(directory))
    longest = max(len(model.vlm.processor.prompt(Sample("x", item.media(), (Turn(item.question),)))) for item in questions())
    model.vlm.max_length = longest + 4
    for got, wanted in zip(model.answer(questions(), 8), whole.answer(questions(), 8), strict=True):
        assert got.text == wanted.text
        assert got.logp == pytest.approx(wanted.logp, abs=1e-4)


@pytest.mark.parametrize("benchmark", [POPE(size=7), CHAIR(size=7, max_new_tokens=9)], ids=["pope", "chair"])
def test_one_picture_a_batch_says_what_many_say(benchmark: Benchmark, directory: Path, tmp_path: Path) -> None:
    rows = {size: run(benchmark.items(), Model(str(directory), rows=size), tmp_path / f"{size}.jsonl", {}, benchmark.max_new_tokens, size)
            for size in (1, 3, 16)}
    assert [row["answer"] for row in rows[1]] == [row["answer"] for row in rows[3]] == [row["answer"] for row in rows[16]]
    for one, many in zip(rows[1], rows[16], strict=True):
        assert one["logp"] == pytest.approx(many["logp"], abs=1e-4)


def test_an_answer_that_is_begun_goes_on_as_greedy_decoding_would(tmp_path: Path) -> None:
    """Also beside answers that are not begun, and about clips of different lengths."""
    vlm = toy(max_length=512)
    vlm.save(tmp_path / "model")
    model = Model(str(tmp_path))
    media = [picture(seed, frames=frames) for seed, frames in ((1, 2), (2, 5), (3, 3))]
    texts = [f"<video>\nis there a {shape} ?" for shape in ("star", "ring", "circle")]
    whole = [vlm.generate([Sample(text, (clip,), (Turn(text),))], max_new_tokens=6)[0] for text, clip in zip(texts, media, strict=True)]
    assert all(len(answer.split()) == 6 for answer in whole)  # it rambles, so that there is something to begin
    begun = [" ".join(answer.split()[:count]) for answer, count in zip(whole, (2, 0, 1), strict=True)]
    items = [Item(text, text, lambda clip=clip: (clip,), text, prefix=prefix)  # type: ignore[misc]
             for text, clip, prefix in zip(texts, media, begun, strict=True)]
    answers = [answer.text for answer in model.answer(items, 6)]
    for prefix, rest, answer in zip(begun, answers, whole, strict=True):
        assert f"{prefix} {rest}".split()[:6] == answer.split()
