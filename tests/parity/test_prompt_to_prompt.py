"""Alignment, gates and maps as the released Prompt-to-Prompt computes them."""
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mm.diffusion import legacy
from mm.diffusion.align import refine_alignment, replace_mapping
from mm.diffusion.edit import WordEdit
from mm.diffusion.edits.refine import Refine
from mm.diffusion.edits.replace import Replace
from mm.diffusion.edits.rescale import Rescale
from mm.diffusion.gates import WordGates, window
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt
from mm.diffusion.tokenise import tokenized_by
from mm.diffusion.words import word_keys
from tests.golden import load
from tests.prompts import clip, composed, prompt

ALIGNER = load("diffusion", "seq_aligner")
CONTROLLERS = {name: golden for file in ("controllers_replace", "controllers_refine_reweight")
               for golden in [load("diffusion", file)] for name in json.loads(golden.meta)}


def pair(case: dict[str, Any]) -> tuple[Prompt, Prompt]:
    pieces = {side: case.get(f"{side}_pieces", ["?"] * len(case[f"{side}_ids"])) for side in ("source", "target")}
    source, target = (prompt(case[side], case[f"{side}_ids"], pieces[side]) for side in ("source", "target"))
    return source, target


@pytest.mark.parametrize("index", range(len(ALIGNER.replacement)))
def test_replacement_mapping(index: int) -> None:
    case = ALIGNER.replacement[index]
    source, target = pair(case)
    if "error" in case:
        for mapping in (legacy.replace_mapping, replace_mapping):
            with pytest.raises(ValueError, match="as many words in both prompts"):
                mapping(source, target)
        return
    expected = torch.zeros(77, 77)
    for row, column, value in case["mapper_nonzero"]:
        expected[row, column] = value
    assert torch.equal(legacy.replace_mapping(source, target), expected)
    if len(case["source_ids"]) == len(case["target_ids"]):
        assert torch.equal(replace_mapping(source, target), expected)


@pytest.mark.parametrize("index", range(len(ALIGNER.refinement)))
def test_refinement_alignment(index: int) -> None:
    case = ALIGNER.refinement[index]
    aligned = refine_alignment(*pair(case))
    assert aligned.tolist() == case["mapper"]
    assert (aligned >= 0).long().tolist() == case["alphas"]
    assert torch.equal(legacy.refine_alignment_of_pads(*pair(case)), aligned)


@pytest.mark.parametrize("index", range(len(ALIGNER.word_inds)))
def test_word_indices(index: int) -> None:
    case = ALIGNER.word_inds[index]
    found = prompt(case["text"], case["ids"], case["pieces"])
    assert legacy.word_tokens(found.spans[0], found.text, case["word"]) == case["inds"]
    if "," not in case["text"]:
        assert list(word_keys(found, case["word"])) == case["inds"]


def spelled(text: str) -> Prompt:
    return tokenized_by(clip(), [text])[0]


@pytest.mark.parametrize("index", range(len(ALIGNER.time_words_alpha)))
def test_gates_of_words(index: int) -> None:
    case = ALIGNER.time_words_alpha[index]
    steps, targets = case["shape"][0], case["prompts"][1:]
    gates = WordGates(case["cross_replace_steps"])
    for place, text in enumerate(targets):
        # the original has a row for a step behind the last, which no run reaches
        alpha = torch.stack([gates.gate(spelled(text), Moment(step, case["num_steps"])) for step in range(steps)])
        assert alpha.sum(0).long().tolist() == case["ones_per_token"][place]
        assert alpha.argmax(0).tolist() == case["first_one_step"][place]


def edits(case: dict[str, Any]) -> list[WordEdit]:
    options = case["kw"]
    steps = options["cross_replace_steps"]
    if case["cls"] != "AttentionReweight":
        return [Replace(steps, legacy=True) if case["cls"] == "AttentionReplace" else Refine(steps)]
    return [Refine(steps) if options.get("controller") == "AttentionRefine" else Replace(steps), Rescale(*options["equalizer"], steps)]


def maps(generator: np.random.RandomState, shape: tuple[int, ...]) -> Tensor:
    scores = generator.standard_normal(shape) * 2
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    return torch.from_numpy((odds / odds.sum(-1, keepdims=True)).astype(np.float32))


@pytest.mark.parametrize("name", CONTROLLERS)
def test_maps_of_controllers(name: str) -> None:
    golden = vars(CONTROLLERS[name])
    case = json.loads(golden["meta"])[name]
    generator = np.random.RandomState(case["seed"])
    prompts = [prompt(*three) for three in zip(case["prompts"], case["ids"], case["pieces"], strict=True)]
    count, heads, pixels = len(prompts), case["heads"], case["pixels"]
    for step in range(case["steps"]):
        moment = Moment(step, case["num_steps"])
        cross = maps(generator, (2 * count * heads, pixels, 77))[count * heads:].reshape(count, heads, pixels, 77)
        maps(generator, (2 * count * heads, pixels, pixels))
        edited = torch.cat([composed(edits(case), prompts[0], target, moment).on_maps(cross[0], own)
                            for target, own in zip(prompts[1:], cross[1:], strict=True)])
        torch.testing.assert_close(edited, golden[f"{name}/cross_{step}"], atol=2e-6, rtol=1e-5)
        shared = window(case["kw"]["self_replace_steps"]).holds(moment)
        assert golden[f"{name}/self_is_source_{step}"].tolist() == [shared] * (count - 1)
        assert golden[f"{name}/self_unchanged_{step}"].tolist() == [not shared] * (count - 1)
