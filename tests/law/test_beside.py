"""Contrasts beside transformers' generate: greedy, sampled, with beams, composed, once each."""
from typing import Any

import pytest
import torch
from torch import Tensor

import mm
from mm.decoding import VCD, Contrast, PAIGuidance
from mm.models.inputs_prompt import InputsPrompt
from mm.reweight import PAI
from tests.contrasts import anew, contrasts, prompt_of
from tests.families import FAMILIES

STEPS = 5
NO_PICTURES = list(range(20))  # tokens that would stand for a picture which is not there
SOME = ["llava", "qwen2_5_vl", "gemma3", "idefics3"]


class Anew:
    """A processor that remembers nothing: it reads every row's branch from the beginning at every step."""

    def __init__(self, contrast: Contrast, prompt: InputsPrompt) -> None:
        self.contrast, self.branch, self.start = contrast, contrast.branch(prompt), prompt.inputs["input_ids"].shape[1]

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        said, copies = ids[:, self.start:], len(ids) // len(self.branch)
        other = torch.stack([anew(self.branch, said[copy::copies]) for copy in range(copies)], 1).flatten(0, 1)
        return self.contrast.logits(scores, other, said.shape[1]).log_softmax(-1)


def generated(prompt: InputsPrompt, *processors: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return prompt.model.generate(  # type: ignore[operator]
        **prompt.inputs, max_new_tokens=STEPS, logits_processor=list(processors), return_dict_in_generate=True, output_scores=True,
        **{"do_sample": False, **options})


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_greedy_generate_with_a_processor_is_decode(name: str) -> None:
    prompt = prompt_of(name)
    plain = generated(prompt).sequences[:, -STEPS:].tolist()
    found = {kind: generated(prompt, contrast.processor(prompt)).sequences[:, -STEPS:].tolist() for kind, contrast in contrasts().items()}
    assert found == {kind: contrast.decode(prompt, STEPS) for kind, contrast in contrasts().items()}
    assert any(answers != plain for answers in found.values())


@pytest.mark.parametrize("options", [{"num_beams": 3, "num_return_sequences": 3}, {"do_sample": True, "num_return_sequences": 2},
                                     {"num_beams": 2, "do_sample": True}], ids=["beams", "sampled", "sampled beams"])
@pytest.mark.parametrize("name", SOME)
def test_rows_that_change_places_go_on_from_what_they_have_read(name: str, options: dict[str, Any]) -> None:
    prompt = prompt_of(name)
    options = {**options, "suppress_tokens": NO_PICTURES}
    for contrast in (VCD(beta=0.05, noise_step=900), PAIGuidance(gamma=1.6)):
        found, wanted = generated(prompt, contrast.processor(prompt), **options), generated(prompt, Anew(contrast, prompt), **options)
        assert found.sequences.tolist() == wanted.sequences.tolist()
        torch.testing.assert_close(torch.stack(found.scores), torch.stack(wanted.scores), atol=2e-3, rtol=1e-3)


def test_beams_move_in_that_test() -> None:
    """Or it would show nothing: rows come from other rows than themselves."""
    prompt, moved = prompt_of("llava"), []

    class Watching(type(VCD().processor(prompt))):  # type: ignore[misc]
        def _rows(self, said: list[list[int]], read: list[list[int]]) -> list[int]:
            rows: list[int] = super()._rows(said, read)
            moved.append(rows != list(range(len(rows))))
            return rows

    generated(prompt, Watching(VCD(beta=0.05, noise_step=900), prompt), num_beams=3)
    assert any(moved)


@pytest.mark.parametrize("name", SOME)
def test_the_whole_of_pai_is_its_rule_and_its_guidance(name: str) -> None:
    prompt, rule = prompt_of(name), PAI(alpha=0.9, first_layer=0)
    guidance = PAIGuidance(gamma=1.6)
    with mm.steer(prompt.model, reweight=[rule]):
        found = generated(prompt, guidance.processor(prompt), num_beams=2).sequences.tolist()
        greedy = generated(prompt, guidance.processor(prompt)).sequences[:, -STEPS:].tolist()
        assert greedy == guidance.decode(prompt, STEPS)
    bare = [generated(prompt, guidance.processor(prompt), num_beams=2).sequences.tolist(), generated(prompt, num_beams=2).sequences.tolist()]
    assert found not in bare


def test_processors_compose() -> None:
    prompt = prompt_of("qwen2_5_vl")
    first, second = VCD(beta=0.0, noise_step=900), PAIGuidance(gamma=1.6)
    found = generated(prompt, first.processor(prompt), second.processor(prompt), num_beams=2)
    wanted = generated(prompt, Anew(first, prompt), Anew(second, prompt), num_beams=2)
    assert found.sequences.tolist() == wanted.sequences.tolist()
    assert found.sequences.tolist() != generated(prompt, first.processor(prompt), num_beams=2).sequences.tolist()


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_neutral_contrasts_change_no_answer_and_leave_no_trace(name: str) -> None:
    prompt = prompt_of(name)
    plain = generated(prompt, num_beams=3).sequences.tolist()
    notes = getattr(prompt.model.base_model, "rope_deltas", None)
    for contrast in (VCD(alpha=0.0, beta=0.0), PAIGuidance(gamma=1.0)):
        assert generated(prompt, contrast.processor(prompt), num_beams=3).sequences.tolist() == plain
        if notes is not None:
            assert torch.equal(prompt.model.base_model.rope_deltas, notes)
    assert not prompt.model._forward_pre_hooks
    assert "generate" not in vars(prompt.model)


def test_a_processor_serves_one_call() -> None:
    prompt = prompt_of("llava")
    used = VCD().processor(prompt)
    generated(prompt, used)
    with pytest.raises(ValueError, match="make a new one for each"):
        generated(prompt, used)
    ids = torch.tensor([[7, 8]])
    jumping = VCD().processor(prompt_of("llava", ["ssIqq"]))
    jumping(ids, torch.zeros(1, 96))
    jumping(torch.tensor([[7, 8, 30]]), torch.zeros(1, 96))
    with pytest.raises(ValueError, match="goes on from tokens that no row has said"):
        jumping(torch.tensor([[7, 8, 31, 32]]), torch.zeros(1, 96))


def test_a_processor_of_other_prompts_is_refused() -> None:
    prompt = prompt_of("llava", ["ssIqq", "sqqIq", "Iqqqq"])
    with pytest.raises(ValueError, match="generate reads 3 rows, and this processor was made for 2 prompts"):
        generated(prompt, VCD().processor(InputsPrompt(prompt.model, FAMILIES["llava"].inputs(["ssIqq", "sqqIq"]))))
