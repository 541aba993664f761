"""Continuations of transformers' own vision-language models: what their `generate` gives, row by row, and beside it under other prompts and rules."""
import pytest
import torch

import mm
from mm.decoding import VCD, Plain, decoded
from mm.models import token_map
from mm.models.inputs_prompt import InputsPrompt
from mm.reweight import ACT, PAI, Rule
from tests.families import FAMILIES

PROMPTS = ("ssIqq", "sIIqqqq")
STEPS = 4




def step_by_step(prompt: InputsPrompt, ids: torch.Tensor) -> torch.Tensor:
    """Logits [B, T + 1, vocabulary] of the prompts and behind each token of `ids` [B, T]."""
    continuation = prompt.continuation()
    return torch.stack([continuation.begin(), *(continuation.step(step) for step in ids.T)], 1)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_continuation_reads_what_generate_reads(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    inputs = family.inputs(PROMPTS)
    wanted = model.generate(**inputs, max_new_tokens=STEPS + 1, do_sample=False, return_dict_in_generate=True, output_logits=True)
    answers = wanted.sequences[:, -STEPS - 1:]
    found = step_by_step(InputsPrompt(model, inputs), answers[:, :STEPS])
    torch.testing.assert_close(found, torch.stack(wanted.logits, 1), atol=1e-6, rtol=0)
    assert Plain().decode(InputsPrompt(model, inputs), STEPS + 1) == answers.tolist()


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_rows_go_on_alone_and_in_another_order(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    continuation = InputsPrompt(model, family.inputs(PROMPTS)).continuation()
    ids = continuation.begin().argmax(-1)
    rows = torch.tensor([1, 0, 1])
    continuation.select(rows)
    found = continuation.step(ids[rows])
    for place, row in enumerate(rows.tolist()):
        alone = InputsPrompt(model, family.inputs([PROMPTS[row]])).continuation()
        alone.begin()
        torch.testing.assert_close(found[place], alone.step(ids[row:row + 1])[0], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_branch_without_pictures_is_the_prompt_without_them(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    bare = InputsPrompt(model, family.inputs(PROMPTS)).without_media()
    ids = bare.inputs["input_ids"]
    for row, real in enumerate(bare.inputs["attention_mask"].bool()):
        extra = {key: table[row:row + 1, real] for key, table in bare.inputs.items() if key not in ("input_ids", "attention_mask")}
        alone = InputsPrompt(model, {"input_ids": ids[row:row + 1, real], "attention_mask": real[None, real].long(), **extra}).continuation().begin()
        torch.testing.assert_close(bare.continuation().begin()[row], alone[0], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_vcd_sets_two_readings_against_each_other(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    prompt = InputsPrompt(model, family.inputs(PROMPTS))
    vcd = VCD(alpha=1.0, beta=0.0, noise_step=900)
    ids = torch.randint(20, 96, (2, STEPS), generator=torch.Generator().manual_seed(0))
    both = vcd.continuation(prompt)
    found = torch.stack([both.begin(), *(both.step(step) for step in ids.T)], 1)
    own, other = step_by_step(prompt, ids), step_by_step(prompt.noised(vcd.noised), ids)
    assert not torch.allclose(own, other, atol=1e-3), "noise changes what the model says"
    torch.testing.assert_close(found, 2 * own - other, atol=1e-4, rtol=1e-4)
    alone = vcd.continuation(InputsPrompt(model, family.inputs(PROMPTS[:1])))
    torch.testing.assert_close(found[:1, 0], alone.begin(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3"])
def test_a_branch_has_rules_of_its_own_and_leaves_none_behind(name: str) -> None:
    family = FAMILIES[name]
    model, inputs = family.model(), family.inputs(PROMPTS)
    ids = torch.randint(20, 96, (2, STEPS), generator=torch.Generator().manual_seed(0))
    plain = step_by_step(InputsPrompt(model, inputs), ids)
    rule = PAI(alpha=2.0, first_layer=0)
    ruled = step_by_step(InputsPrompt(model, inputs).steered([rule]), ids)
    with mm.steer(model, reweight=[PAI(alpha=2.0, first_layer=0)]):
        torch.testing.assert_close(step_by_step(InputsPrompt(model, inputs), ids), ruled, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(step_by_step(InputsPrompt(model, inputs).steered([]), ids), plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain, ruled, atol=1e-3)
    assert torch.equal(step_by_step(InputsPrompt(model, inputs), ids), plain)
    assert model.config.get_text_config()._attn_implementation == "sdpa"


def test_prompts_padded_on_the_right_are_refused() -> None:
    family = FAMILIES["llava"]
    with pytest.raises(ValueError, match="pad prompts on the left"):
        decoded(InputsPrompt(family.model(), family.inputs(PROMPTS, left=False)).continuation(), (), 2)


@pytest.mark.parametrize("rule", [PAI(0.9, first_layer=0), ACT(0.4, 0.02, first_layer=0)], ids=["pai", "act"])
def test_rows_that_leave_take_their_part_of_a_map_that_lies_on_the_model(rule: Rule) -> None:
    family = FAMILIES["llava"]
    model, inputs = family.model(), family.inputs(["ssIqqq", "Iqq", "sIqqqq"])
    with mm.steer(model, reweight=[rule]):
        read = InputsPrompt(model, inputs).continuation()
        wanted = [read.begin(), read.step(torch.tensor([40, 41, 42]))]
        read.select(torch.tensor([2, 0]))
        wanted += [read.step(torch.tensor([43, 44])), read.step(torch.tensor([45, 46]))]
    with mm.steer(model, reweight=[rule], tokens=token_map(model, inputs)):
        mapped = InputsPrompt(model, inputs).continuation()
        found = [mapped.begin(), mapped.step(torch.tensor([40, 41, 42]))]
        mapped.select(torch.tensor([2, 0]))
        found += [mapped.step(torch.tensor([43, 44])), mapped.step(torch.tensor([45, 46]))]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)
