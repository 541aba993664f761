"""A recorder of the newest row, and continuations that are gone on with in two ways."""
from typing import Any

import pytest
import torch
from torch import Tensor

from mm.attention import Newest
from mm.decoding import VCD
from mm.language.arguments import CACHE
from mm.models.inputs_prompt import InputsPrompt
from tests.families import FAMILIES

PROMPTS = ("ssIqq", "sIIqqqq")


def last_row(name: str, prompt: str, ids: Tensor) -> tuple[Tensor, ...]:
    """Of each layer of the stock model on eager attention, read without padding: weights [H, N] of the last token."""
    family = FAMILIES[name]
    model: Any = family.model(implementation="eager")
    with torch.no_grad():
        read = model(**family.inputs([prompt]), use_cache=True, output_attentions=True)
    found = [layer[0, :, -1] for layer in read.attentions]
    continuation = InputsPrompt(model, family.inputs([prompt])).continuation()
    continuation.begin()
    inputs = continuation.inputs
    for token in ids:
        inputs["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (0, 1), value=1)
        inputs["position_ids"] = torch.cat([inputs["position_ids"], inputs["position_ids"][..., -1:] + 1], -1)
        with torch.no_grad():
            step = model(input_ids=token.view(1, 1), attention_mask=inputs["attention_mask"], position_ids=inputs["position_ids"][..., -1:],
                         output_attentions=True, **{CACHE: inputs[CACHE]})
        found = [layer[0, :, -1] for layer in step.attentions]
    return tuple(found)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "internvl", "smolvlm"])
def test_the_newest_row_is_that_of_the_stock_model(name: str) -> None:
    """Grouped queries, left padding, several pictures; the first pass and later ones."""
    family, recorder = FAMILIES[name], Newest([0, 1])
    continuation = InputsPrompt(family.model(), family.inputs(PROMPTS)).recording(recorder).continuation()
    continuation.begin()
    ids = torch.tensor([[30, 31, 32], [33, 34, 35]])
    for steps in range(ids.shape[1] + 1):
        if steps:
            continuation.step(ids[:, steps - 1])
        assert recorder.tokens is not None
        for row, prompt in enumerate(PROMPTS):
            for layer, wanted in enumerate(last_row(name, prompt, ids[row, :steps])):
                assert recorder.looks[layer].shape[-1] == recorder.tokens.shape[1]
                torch.testing.assert_close(recorder.looks[layer][row, :, recorder.tokens.is_real[row]], wanted, atol=1e-5, rtol=1e-4)


def test_only_the_layers_asked_for_are_looked_at() -> None:
    family, recorder = FAMILIES["llava"], Newest([1])
    InputsPrompt(family.model(), family.inputs(PROMPTS)).recording(recorder).continuation().begin()
    assert list(recorder.looks) == [1]


def test_being_watched_changes_no_logits_and_leaves_no_trace() -> None:
    family = FAMILIES["qwen2_5_vl"]
    model, inputs = family.model(), family.inputs(PROMPTS)
    plain = InputsPrompt(model, inputs).continuation().begin()
    assert torch.equal(InputsPrompt(model, inputs).recording(Newest([0])).continuation().begin(), plain)
    assert model.config.get_text_config()._attn_implementation == "sdpa"


def test_a_branch_goes_on_beside_what_it_has_left() -> None:
    family = FAMILIES["gemma3"]
    model = family.model()
    continuation = InputsPrompt(model, family.inputs(PROMPTS)).continuation()
    ids = continuation.begin().argmax(-1)
    branch = continuation.branched(torch.tensor([1, 1, 0]))
    for _ in range(8):  # beyond a sliding window
        aside = branch.step(torch.tensor([30, 31, 32]))
    undisturbed = InputsPrompt(model, family.inputs(PROMPTS)).continuation()
    undisturbed.begin()
    assert torch.equal(continuation.step(ids), undisturbed.step(ids))
    assert not torch.allclose(aside[0], aside[1])
    assert (continuation.forwards, branch.forwards) == (2 + 2, 8 * 3)


def test_a_continuation_of_two_is_not_branched() -> None:
    family = FAMILIES["llava"]
    with pytest.raises(ValueError, match="Contrasted cannot be gone on with in two ways"):
        VCD().continuation(InputsPrompt(family.model(), family.inputs(PROMPTS))).branched(torch.tensor([0]))
