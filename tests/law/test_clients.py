"""A model that a harness asks: decoding as it was asked for or refused, and answers that are those of each question alone."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mm.clients.questioned import Question, Questioned
from mm.clients.settings import Settings
from mm.clients.speaking import generated, scored
from mm.decoding import Choice, Decoding
from mm.levers import Pulled
from mm.masks import ImageBlock
from mm.models import Branches
from mm.models.prompt import Prompt
from mm.positions import Restart
from mm.sample import BadSample, Sample, Turn
from tests.answering import made, questions
from tests.clips import moving_square, write_clip
from tests.families import FAMILIES
from tests.law.test_lora import adapter
from tests.processors import directory as folder_of


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A toy that has forgotten most of what it learnt, so that it talks differently to each question."""
    folder = tmp_path_factory.mktemp("run")
    vlm = made(ImageBlock(), Restart(), Branches())
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in vlm.language.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    vlm.save(folder)
    return str(folder)


def asked() -> list[Question]:
    """Four about two pictures, of different lengths."""
    suffixes = ("", " is there a ring ?", " ?", "")
    return [Question(item.id, item.question.removeprefix("<image>\n") + suffix, lambda item=item: [Image.fromarray(item.media()[0].frames[0])])
            for item, suffix in zip(questions(), suffixes, strict=True)]


@pytest.mark.parametrize(("given", "expected"), [
    ({}, Settings()), ({"until": "\n\n", "do_sample": False, "temperature": 0, "top_p": 1.0, "num_beams": 1}, Settings(("\n\n",))),
    ({"until": ["a", "b"], "max_new_tokens": 16}, Settings(("a", "b"), 16)), ({"until": [], "temperature": None, "top_p": None}, Settings()),
    ({"top_p": 0, "top_k": 50, "do_sample": False}, Settings()), ({"max_new_tokens": 8.0}, Settings((), 8)),
    ({"do_sample": True, "temperature": 0.7, "seed": 3, "top_k": 0}, Settings(temperature=0.7, seed=3)),
    ({"do_sample": True}, Settings(temperature=1.0)),
    ({"do_sample": True, "temperature": 0, "top_p": 0.9}, Settings()), ({"repetition_penalty": 1.0}, Settings()),
    ({"image_aspect_ratio": "pad"}, Settings()),
], ids=["nothing", "pope", "stops", "none", "greedy", "float", "sampled", "plain", "cold", "neutral", "llava"])
def test_what_a_task_asks_is_what_is_done(given: dict[str, Any], expected: Settings) -> None:
    assert Settings.of(given) == expected


@pytest.mark.parametrize(("given", "said"), [
    ({"do_sample": True, "top_p": 0.9}, "top_p=0.9, which this model cannot honour"), ({"top_k": 5, "do_sample": True}, "top_k=5"),
    ({"temperature": 0.7}, "say which it is"), ({"temperature": 0.7, "do_sample": False}, "say which it is"), ({"temperature": -1}, "0 or more"),
    ({"repetition_penalty": 1.2}, "repetition_penalty=1.2"), ({"stop_sequences": ["a"]}, "does not know"),
    ({"until": [""]}, "at least one character"), ({"until": [3]}, "at least one character"),
    ({"max_new_tokens": 0}, "1 or more"), ({"num_beams": 5}, "num_beams=5"), ({"max_new_tokens": 1.5}, "whole number"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_what_cannot_be_done_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings.of(given)


def test_a_text_ends_before_the_first_stop() -> None:
    assert Settings(("two", "one")).cut("zero one two") == "zero "
    assert Settings(("three",)).cut("zero one two") == "zero one two"
    assert Settings().cut("zero") == "zero"


@pytest.mark.parametrize("batch_size", [1, 3])
def test_answers_of_a_batch_are_those_of_each_alone_and_in_order(directory: str, batch_size: int) -> None:
    model = Questioned(directory, batch_size=batch_size)
    alone = [model.vlm.generate([model.sample(question)], max_new_tokens=8)[0] for question in asked()]
    assert len(set(alone)) > 1
    assert model.generate(asked(), [Settings(max_new_tokens=8)] * 4) == alone


def test_each_question_has_its_own_decoding(directory: str) -> None:
    model = Questioned(directory, batch_size=4)
    whole = model.generate(asked(), [Settings(max_new_tokens=8)] * 4)
    assert all(whole)
    cut = model.generate(asked(), [Settings(max_new_tokens=8), Settings((whole[1][:2],), 8)] * 2)
    assert cut[0] == whole[0]
    assert cut[1] == ""
    drawn = [model.generate(asked(), [Settings(max_new_tokens=8, temperature=9.0, seed=seed)] * 4) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_continuation_is_scored_without_its_end(directory: str, batch_size: int) -> None:
    model = Questioned(directory, batch_size=batch_size)
    said = [" yes", "no", "yes no", ""]
    for question, text, (logp, is_greedy) in zip(asked(), said, model.score(asked(), said), strict=True):
        sample, tokens = model.sample(question), model.vlm.language.tokenizer(text, add_special_tokens=False)["input_ids"]
        whole = model.vlm.processor.encode(Sample(sample.id, sample.media, (Turn(sample.turns[0].question, text.strip()),)))
        with torch.no_grad():
            logits, targets, _ = model.vlm(model.vlm.processor.collate([whole]))
        assert targets[:len(tokens)].tolist() == tokens
        assert logp == pytest.approx(float(logits.log_softmax(-1)[:len(tokens)].gather(1, targets[:len(tokens), None]).sum()), abs=1e-5)
        assert is_greedy == (logits.argmax(-1)[:len(tokens)].tolist() == tokens)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of("llava", tmp_path_factory.mktemp("pretrained") / "llava")


def test_a_pretrained_model_answers_as_each_question_alone(pretrained: Path) -> None:
    many, one = (Questioned(str(pretrained), batch_size=size) for size in (4, 1))
    texts = many.generate(asked(), [Settings(max_new_tokens=5)] * 4)
    assert texts == one.generate(asked(), [Settings(max_new_tokens=5)] * 4)
    said = [*texts[:2], " yes", ""]
    for (logp, is_greedy), (alone, is_too), text, question in zip(many.score(asked(), said), one.score(asked(), said), said, asked(), strict=True):
        assert (logp, is_greedy) == (pytest.approx(alone, abs=5e-5), is_too)
        assert is_greedy == (text in ("", *texts))
        vlm, sample = one.vlm, one.sample(question)
        own = torch.tensor([vlm.begin(sample, text.strip())], dtype=torch.long)
        inputs = vlm.inputs([sample])
        ids = torch.cat([inputs["input_ids"], own], 1)
        with torch.no_grad():
            logits = vlm.model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=inputs["pixel_values"]).logits
        logits = logits[0, inputs["input_ids"].shape[1] - 1:-1] if own.numel() else logits[0, :0]
        assert logp == pytest.approx(float(logits.log_softmax(-1).gather(1, own.T).sum()), abs=5e-5)


def test_a_pretrained_model_is_steered_adapted_and_drawn_from(pretrained: Path, tmp_path: Path) -> None:
    (tmp_path / "lever.yaml").write_text("reweight: [{class_path: mm.reweight.PAI, init_args: {first_layer: 0}}]\n")
    adapter(FAMILIES["llava"].model(), tmp_path / "tuned", r".*language_model.*q_proj")
    ways = ({}, {"lever": str(tmp_path / "lever.yaml")}, {"lora": str(tmp_path / "tuned")}, {"dtype": "bfloat16"})
    scores = [Questioned(str(pretrained), batch_size=4, **way).score(asked(), ["yes"] * 4)[0] for way in ways]
    assert len({logp for logp, _ in scores}) == len(ways)
    model = Questioned(str(pretrained), batch_size=4)
    drawn = [model.generate(asked(), [Settings(max_new_tokens=5, temperature=9.0, seed=seed)] * 4) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("kind", ["assembled", "pretrained"])
def test_a_lever_may_decode_in_another_way(kind: str, directory: str, pretrained: Path, tmp_path: Path) -> None:
    (tmp_path / "vcd.yaml").write_text("decoding: {class_path: mm.decoding.VCD, init_args: {alpha: 3.0, beta: 0.0, noise_step: 900}}\n")
    run = directory if kind == "assembled" else str(pretrained)
    contrasted, plain = Questioned(run, str(tmp_path / "vcd.yaml"), 4), Questioned(run, batch_size=4)
    assert contrasted.score(asked(), ["yes"] * 4) != plain.score(asked(), ["yes"] * 4)
    settings = [Settings(max_new_tokens=5)] * 4
    assert contrasted.generate(asked(), settings) != plain.generate(asked(), settings)
    contrasted.lever = None
    assert contrasted.generate(asked(), settings) == plain.generate(asked(), settings)


class Searching(Decoding):
    """Finds nothing, in a way of its own."""

    def decode(self, prompt: Prompt, max_new_tokens: int, choice: Choice | None = None) -> list[list[int]]:
        return [[] for _ in range(len(prompt))]


def test_there_are_no_likelihoods_where_decoding_is_no_matter_of_tokens(directory: str) -> None:
    model, levers = Questioned(directory), Pulled(decoding=Searching())
    samples = [model.sample(question) for question in asked()]
    assert generated(model.vlm, levers, samples, Settings(), 0) == [""] * 4
    with pytest.raises(ValueError, match="Searching does not answer token by token"):
        scored(model.vlm, levers, samples, ["yes"] * 4)


def test_an_assembled_model_takes_an_adapter(directory: str, tmp_path: Path) -> None:
    plain = Questioned(directory, batch_size=4)
    adapter(plain.vlm.language.model, tmp_path / "tuned", r".*q_proj")
    tuned = Questioned(directory, batch_size=4, lora=str(tmp_path / "tuned"))
    assert tuned.score(asked(), ["yes"] * 4)[0] != plain.score(asked(), ["yes"] * 4)[0]


def test_a_lever_is_pulled_while_answering(directory: str, tmp_path: Path) -> None:
    (tmp_path / "causal.yaml").write_text("mask: mm.masks.Causal\n")
    steered, plain = Questioned(directory, str(tmp_path / "causal.yaml"), 4), Questioned(directory, batch_size=4)
    scored = [model.score(asked(), ["yes"] * 4) for model in (steered, plain)]
    assert scored[0] != scored[1]
    assert isinstance(steered.vlm.mask, ImageBlock)


def test_pictures_stand_in_front_unless_the_text_places_them(directory: str) -> None:
    model, picture = Questioned(directory), Image.new("L", (8, 6))
    def sample(context: str, *visuals: Any) -> Sample:
        return model.sample(Question("task/0", context, lambda: visuals))
    assert sample("why ?", picture, picture).turns[0].question == "<image>\n<image>\nwhy ?"
    assert sample("why ?", picture).media[0].frames.shape == (1, 6, 8, 3)
    assert sample("why <image> ?", picture).turns[0].question == "why <image> ?"
    assert model.sample(Question("task/0", "why ?", lambda: None)).media == ()
    with pytest.raises(BadSample, match=r"task/0.*2 <image> placeholder"):
        model.generate([Question("task/0", "<image> or <image> ?", lambda: [picture])], [Settings()])
    with pytest.raises(ValueError, match="task/0: its task shows a dict"):
        sample("hear ?", {"array": np.zeros(3)})


def test_a_clip_is_read_from_its_path(directory: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", moving_square(12))
    model = Questioned(directory, frames=4)
    sample = model.sample(Question("task/0", "what ?", lambda: [str(tmp_path / "a.mkv")]))
    assert sample.turns[0].question == "<video>\nwhat ?"
    assert sample.media[0].frames.shape == (4, 32, 48, 3)
    assert sample.media[0].kind == "clip"
