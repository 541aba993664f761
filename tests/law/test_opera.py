"""Beam search and OPERA: what `generate` gives without a penalty, what the method says when it is written out, row by row, and no trace."""
import pytest
import torch

from mm.decoding import OPERA, BeamSearch, Greedy, Plain, Sampled
from mm.decoding.overtrust import trusted
from mm.decoding.retrospection import Moment, Retrospection
from mm.masks import Causal, ImageBlock, Mask
from mm.models import Branches, Dialogue, Layout, token_map
from mm.models.continuation import counted
from mm.models.inputs_prompt import InputsPrompt
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Positions, Restart, Sequential
from mm.streams import DualCrossAttention
from tests.answering import made
from tests.crossings import streamed, watching
from tests.families import FAMILIES
from tests.law.test_decoding import samples
from tests.opera import WrittenOut

PROMPTS = ("ssIqq", "sIIqqqq")
STOPS = (33, 50, 71, 40, 80, 22, 25, 90, 60, 61, 62)


def opera_model(name: str, seed: int = 0, implementation: str = "sdpa") -> torch.nn.Module:
    """A toy that does not say placeholders, which a row that is read anew would take for pictures."""
    model = FAMILIES[name].model(seed, implementation)
    with torch.no_grad():
        model.get_output_embeddings().weight[:20] = 0
    return model


def ended(answers: torch.Tensor, stops: tuple[int, ...]) -> list[list[int]]:
    """What `generate` gave, up to its end."""
    return [answer[:next((i for i, token in enumerate(answer) if token in stops), len(answer))] for answer in answers.tolist()]


@pytest.mark.parametrize("stops", [(), STOPS], ids=["no-end", "many-ends"])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_beams_end_as_those_of_generate(name: str, stops: tuple[int, ...]) -> None:
    family = FAMILIES[name]
    model, inputs = family.model(), family.inputs(PROMPTS)
    said = model.generate(**inputs, max_new_tokens=10, num_beams=4, do_sample=False, eos_token_id=list(stops) or None, pad_token_id=0)
    wanted = ended(said[:, inputs["input_ids"].shape[1]:], stops)
    prompt = InputsPrompt(model, inputs, stop_ids=stops)
    assert BeamSearch(4).decode(prompt, 10) == wanted
    assert OPERA(4, weight=0.0).decode(prompt, 10) == wanted
    assert BeamSearch(1).decode(prompt, 10) == Plain().decode(prompt, 10)


@pytest.mark.parametrize("length_penalty", [0.0, 2.0], ids=["sum", "squared"])
def test_the_length_that_answers_are_measured_by_is_that_of_generate(length_penalty: float) -> None:
    family = FAMILIES["llava"]
    model, inputs = family.model(1), family.inputs(PROMPTS)
    said = model.generate(**inputs, max_new_tokens=10, num_beams=3, do_sample=False, eos_token_id=list(STOPS), pad_token_id=0,
                          length_penalty=length_penalty)
    wanted = ended(said[:, inputs["input_ids"].shape[1]:], STOPS)
    assert BeamSearch(3, length_penalty).decode(InputsPrompt(model, inputs, stop_ids=STOPS), 10) == wanted


@pytest.mark.parametrize(("mask", "positions", "layout"), [(ImageBlock(), Restart(), Branches()), (Causal(), Sequential(), Dialogue())],
                         ids=["branches", "causal"])
def test_beams_of_an_assembled_model_are_those_of_generate(mask: Mask, positions: Positions, layout: Layout) -> None:
    vlm = made(mask, positions, layout)
    asked = samples(2, 2)
    prompt = VLMPrompt(vlm, asked)
    assert [prompt.decode(ids) for ids in BeamSearch(3).decode(prompt, 8)] == vlm.generate(asked, max_new_tokens=8, num_beams=3)


def test_what_is_read_ahead_changes_nothing_without_a_penalty() -> None:
    """All tokens are candidates, and the penalty is too light to matter."""
    family = FAMILIES["qwen2_5_vl"]
    prompt = InputsPrompt(family.model(), family.inputs(PROMPTS), stop_ids=STOPS)
    assert OPERA(3, candidates=96, weight=1e-12, repeats=99).decode(prompt, 8) == BeamSearch(3).decode(prompt, 8)


@pytest.mark.parametrize(("name", "seed", "scale", "repeats", "back"), [
    ("llava", 0, 50.0, 15, 0), ("llava", 0, 5.0, 1, 2), ("qwen2_5_vl", 1, 15.0, 1, 4)], ids=["published", "llava-back", "qwen-back"])
def test_a_batch_is_each_prompt_written_out(name: str, seed: int, scale: float, repeats: int, back: int) -> None:
    """Left padding, grouped queries, several pictures, none; samples that go back, each by itself."""
    family, prompts, stops = FAMILIES[name], (*PROMPTS, "qq"), (33, 50)
    found = OPERA(2, 2, scale=scale, repeats=repeats).decode(InputsPrompt(opera_model(name, seed), family.inputs(prompts), stop_ids=stops), 20)
    eager, went_back = opera_model(name, seed, "eager"), 0
    for answer, prompt in zip(found, prompts, strict=True):
        inputs = family.inputs([prompt])
        written = WrittenOut(eager, inputs, token_map(eager, inputs).is_vision[0], 2, 2, repeats, scale)
        assert answer == written.answer(20, stops)
        went_back += written.went_back
    assert went_back == back


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_searches_row_by_row_and_forgets(name: str) -> None:
    family = FAMILIES[name]
    model = opera_model(name)
    plain = BeamSearch(3).decode(InputsPrompt(model, family.inputs(PROMPTS)), 12)
    opera = OPERA(3, 3, weight=5.0)
    together = opera.decode(InputsPrompt(model, family.inputs(PROMPTS)), 12)
    assert together != plain
    assert together == [opera.decode(InputsPrompt(model, family.inputs([prompt])), 12)[0] for prompt in PROMPTS]
    assert together == opera.decode(InputsPrompt(model, family.inputs(PROMPTS)), 12)
    assert BeamSearch(3).decode(InputsPrompt(model, family.inputs(PROMPTS)), 12) == plain
    assert model.config.get_text_config()._attn_implementation == "sdpa"


def test_samples_that_share_a_picture_are_searched_as_if_alone() -> None:
    vlm = made(ImageBlock(), Restart(), Branches())
    asked = samples(2, 2)
    opera = OPERA(3, 3, weight=5.0)
    assert opera.decode(VLMPrompt(vlm, asked), 8) == [opera.decode(VLMPrompt(vlm, [sample]), 8)[0] for sample in asked]


def test_a_step_reads_each_candidate_of_each_beam_once() -> None:
    family = FAMILIES["llava"]
    with counted() as passes:
        OPERA(3, 4).decode(InputsPrompt(family.model(), family.inputs(PROMPTS)), 6)
    assert passes.rows == 2 * (1 + 4 + 5 * 3 * 4)


def test_products_beyond_half_precision_stay_finite() -> None:
    penalty, column = trusted(torch.tensor([[1.0, 1e30, 0.0], [torch.inf, 1.0, 1.0]]))
    assert penalty.tolist() == [65504.0, 65504.0]
    assert column.tolist() == [1, 0]


def memory(steps: int, trusts: int, repeats: int = 3, window: int = 512) -> Retrospection:
    found = Retrospection(2, repeats, window, tries=2)
    for step in range(steps):
        assert found.back_to([[trusts if step >= 12 else step] * 3] * 2) is None
        found.moments.append(Moment(torch.zeros(2, step), torch.zeros(2), [], ((0, step), (1, step))))
    return found


def test_a_token_that_stays_the_most_trusted_one_is_gone_back_to() -> None:
    found = memory(14, trusts=11)
    again = [[11] * 3] * 2
    assert found.back_to(again) == 12
    assert found.forget(12).chosen == ((0, 12), (1, 12))
    assert found.rejected == {12: {(0, 12), (1, 12)}}
    assert (len(found.moments), len(found.columns)) == (12, 13)


def test_beams_that_do_not_agree_go_on() -> None:
    found = memory(14, trusts=11)
    assert found.back_to([[11] * 3, [9] * 3]) is None


def test_the_first_ten_tokens_are_never_gone_back_to() -> None:
    found = memory(14, trusts=9)
    assert found.back_to([[9] * 3] * 2) is None


def test_a_place_is_tried_as_often_as_there_are_candidates_and_then_the_one_before_it() -> None:
    steps = []
    for _ in range(6):
        found = memory(14, trusts=11)
        found.times.update(steps)
        steps.append(found.back_to([[11] * 3] * 2))
    assert steps == [12, 12, 11, 11, None, None]


def test_the_window_bounds_how_far_back_it_goes() -> None:
    assert memory(14, trusts=11, window=1).back_to([[11] * 3] * 2) == 13


def test_what_was_rejected_later_is_forgotten() -> None:
    found = memory(14, trusts=11)
    found.rejected = {5: {(0, 1)}, 13: {(1, 2)}}
    found.forget(12)
    assert found.rejected == {5: {(0, 1)}, 12: {(0, 12), (1, 12)}}


def test_choices_and_settings_that_make_no_search_are_refused() -> None:
    family = FAMILIES["llava"]
    prompt = InputsPrompt(family.model(), family.inputs(PROMPTS))
    assert OPERA(2, 2).decode(prompt, 2, Greedy()) == OPERA(2, 2).decode(prompt, 2)
    assert OPERA(2, 2).decode(prompt, 0) == BeamSearch(2).decode(prompt, 0) == [[], []]
    for search in (OPERA(), BeamSearch()):
        with pytest.raises(ValueError, match=r"searches, and Sampled chooses token by token"):
            search.decode(prompt, 2, Sampled())
    with pytest.raises(ValueError, match="candidates is 1"):
        OPERA(candidates=1)
    with pytest.raises(ValueError, match="repeats is 0"):
        OPERA(repeats=0)
    with pytest.raises(ValueError, match="beams is 0"):
        BeamSearch(0)
    with pytest.raises(ValueError, match="rows can neither leave nor change places"):
        OPERA(2, 2).decode(VLMPrompt(streamed(DualCrossAttention(every=1)), [watching()]), 2)
