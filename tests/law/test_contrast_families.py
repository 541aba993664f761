"""Every contrast on every family of pretrained models: in batches, padded, with several pictures, step by step."""
import pytest
import torch
from torch import Tensor

import mm
from mm.decoding import AGLA, Contrast
from mm.models.continuation import Continuation
from mm.models.inputs_prompt import InputsPrompt
from tests.contrasts import PROMPTS, anew, contrasts, disturbed, icd, prompt_of, rule, said
from tests.families import FAMILIES

STEPS = 3


def read(continuation: Continuation, ids: Tensor) -> Tensor:
    """Logits [B, T + 1, V]."""
    return torch.stack([continuation.begin(), *(continuation.step(step) for step in ids.T)], 1)


def recomputed(contrast: Contrast, prompt: InputsPrompt, branch: InputsPrompt, ids: Tensor) -> Tensor:
    return torch.stack([contrast.logits(anew(prompt, ids[:, :t]), anew(branch, ids[:, :t]), t) for t in range(ids.shape[1] + 1)], 1)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_each_step_is_both_branches_read_anew(name: str) -> None:
    prompt, ids = prompt_of(name), said(STEPS)
    plain = read(prompt.continuation(), ids)
    for contrast in contrasts().values():
        wanted = recomputed(contrast, prompt, contrast.branch(prompt), ids)  # type: ignore[arg-type]
        torch.testing.assert_close(read(contrast.continuation(prompt), ids), wanted, atol=5e-4, rtol=1e-4)
        assert (wanted.log_softmax(-1) - plain.log_softmax(-1)).abs().max() > 1e-2
    wanted = recomputed(icd(), prompt, disturbed(prompt), ids)
    torch.testing.assert_close(read(icd().against(prompt, disturbed(prompt)), ids), wanted, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_row_is_in_a_batch_what_it_is_alone(name: str) -> None:
    ids = said(STEPS)
    together = {kind: read(contrast.continuation(prompt_of(name)), ids) for kind, contrast in contrasts().items()}
    for row, text in enumerate(PROMPTS):
        for kind, contrast in contrasts().items():
            alone = read(contrast.continuation(prompt_of(name, [text])), ids[row:row + 1])
            torch.testing.assert_close(together[kind][row:row + 1], alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3"])
def test_under_a_lever_each_branch_has_the_rules_that_its_method_says(name: str) -> None:
    prompt, ids = prompt_of(name), said(STEPS)
    for contrast in contrasts().values():
        branch = contrast.branch(prompt)
        assert isinstance(branch, InputsPrompt)
        ruled = branch if branch.rules is not None else branch.steered([rule()])
        wanted = recomputed(contrast, prompt.steered([rule()]), ruled, ids)
        with mm.steer(prompt.model, reweight=[rule()]):
            found = read(contrast.continuation(prompt), ids)
        torch.testing.assert_close(found, wanted, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_a_contrast_leaves_no_trace(name: str) -> None:
    prompt, ids = prompt_of(name), said(1)
    model = prompt.model
    prompt.continuation().begin()
    before = {key: value for key, value in vars(model).items() if not key.startswith("_")}
    notes = getattr(model.base_model, "rope_deltas", None)
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    first = {kind: read(contrast.continuation(prompt), ids) for kind, contrast in contrasts().items()}
    assert getattr(model.base_model, "rope_deltas", None) is notes
    assert {key: value for key, value in vars(model).items() if not key.startswith("_")} == before
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()) == hooks
    assert model.config.get_text_config()._attn_implementation == "sdpa"
    kept = contrasts()
    for contrast in kept.values():
        read(contrast.continuation(InputsPrompt(model, FAMILIES[name].inputs(["sqqIq"]))), ids[:1])
    for kind, contrast in kept.items():  # the second sample does not remember the first
        assert torch.equal(read(contrast.continuation(prompt), ids), first[kind])


def test_a_branch_that_tokens_cannot_be_is_refused_with_a_reason() -> None:
    prompt = prompt_of("llava")
    for contrast in (icd(), AGLA()):
        with pytest.raises(TypeError, match="make them of samples"):
            contrast.continuation(prompt)
