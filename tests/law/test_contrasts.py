"""What each contrast makes of two rows of logits, and its branch of samples."""
import math

import pytest
import torch
from torch import Tensor

from data.world import Scenes
from mm.decoding import AGLA, ICD, M3ID, ONLY, VCD, Contrast, LeverContrast, PAIGuidance, Plain
from mm.masks import ImageBlock
from mm.models import VLM, Branches
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Restart
from mm.reweight import PAI, HeadGate
from mm.sample import Sample, Turn
from tests.answering import made

NEUTRAL: dict[str, Contrast] = {
    "vcd": VCD(alpha=0.0, beta=0.0), "icd": ICD(alpha=0.0, beta=0.0, disturbance="is there a ring ?"), "m3id": M3ID(decay=0.0),
    "only": ONLY(alpha1=0.0, alpha2=0.0, beta=0.0), "agla": AGLA(alpha=0.0, beta=0.0), "levers": LeverContrast([PAI(0.9, first_layer=0)], 0.0, 0.0)}
STRONG: dict[str, Contrast] = {
    "vcd": VCD(beta=0.0, noise_step=900), "icd": ICD(beta=0.0, disturbance="is there a ring ?"), "pai": PAIGuidance(gamma=1.6, beta=0.0),
    "m3id": M3ID(alpha=1.0, decay=0.4), "only": ONLY(beta=0.0), "agla": AGLA(beta=0.0), "levers": LeverContrast([PAI(0.9, first_layer=0)], beta=0.0)}


@pytest.fixture(scope="module")
def toy() -> VLM:
    return made(ImageBlock(), Restart(), Branches())


def samples() -> list[Sample]:
    """Two with a picture each, and one with both."""
    scenes = Scenes("test", 10, 0, questions=0)
    first, second = (scenes[i].media for i in range(2))
    return [Sample("a", first, (Turn("<image>\nis there a star ?"),)), Sample("b", second, (Turn("<image>\ndescribe the image ."),)),
            Sample("c", (*first, *second), (Turn("<image><image>\nis there a red moon ?"),))]


def logits(seed: int, rows: int = 4, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(rows, 12, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_contrast_is_the_plain_model_to_the_bit(toy: VLM, name: str) -> None:
    prompt = VLMPrompt(toy, samples())
    found, plain = NEUTRAL[name].continuation(prompt), prompt.continuation()
    first = plain.begin()
    ids = first.argmax(-1)
    assert torch.equal(found.begin(), first)
    assert torch.equal(found.step(ids), plain.step(ids))
    assert NEUTRAL[name].decode(prompt, 6) == Plain().decode(prompt, 6)


def test_guidance_of_one_is_the_log_softmax_without_a_cut(toy: VLM) -> None:
    prompt = VLMPrompt(toy, samples())
    assert torch.equal(PAIGuidance(gamma=1.0).continuation(prompt).begin(), prompt.continuation().begin().log_softmax(-1))


@pytest.mark.parametrize("name", STRONG)
def test_a_sample_is_in_a_batch_what_it_is_alone_and_after_others(toy: VLM, name: str) -> None:
    asked, ids = samples(), torch.tensor([5, 9, 7])

    def read(chosen: list[int]) -> Tensor:
        continuation = STRONG[name].continuation(VLMPrompt(toy, [asked[i] for i in chosen]))
        return torch.stack([continuation.begin(), continuation.step(ids[chosen])], 1)

    together = read([0, 1, 2])
    for i in range(3):
        torch.testing.assert_close(together[i:i + 1], read([i]), atol=1e-4, rtol=1e-4)
    assert torch.equal(read([0, 1, 2]), together)
    plain = VLMPrompt(toy, asked).continuation().begin().log_softmax(-1)
    assert (together[:, 0].log_softmax(-1) - plain).abs().amax(-1).min() > 1e-4, "every row is changed"


def test_m3id_raises_what_the_picture_adds_more_and_more_where_the_model_is_unsure() -> None:
    own, other = logits(0), logits(1)
    own[0, 3] += 9.0  # sure of it
    m3id = M3ID(alpha=0.5, decay=0.1)
    for step in (0, 7):
        found = m3id.logits(own, other, step)
        assert torch.equal(found[0], own[0])
        for row in range(1, 4):
            if own[row].softmax(-1).max() < 0.5:
                gain = math.exp(0.1 * (step + 1)) - 1
                wanted = own[row] + gain * (own[row].log_softmax(-1) - other[row].log_softmax(-1))
                torch.testing.assert_close(found[row], wanted)
    assert (own[1:].softmax(-1).amax(-1) < 0.5).any()


def test_only_adds_what_is_near_and_subtracts_what_is_far_row_by_row() -> None:
    own = logits(0, rows=2)
    other = torch.stack([own[0] + 0.01 * logits(2)[0], logits(1)[0]])
    found = ONLY(alpha1=3.0, alpha2=0.5, gamma=0.2, beta=0.0).logits(own, other, 0)
    torch.testing.assert_close(found[0], own[0] + 3 * other[0])
    torch.testing.assert_close(found[1], 1.5 * own[1] - 0.5 * other[1])
    cut = ONLY(beta=0.1).logits(own, other, 0).isneginf()
    assert torch.equal(cut, own < own.amax(-1, keepdim=True) + math.log(0.1))
    assert cut.any()


def test_agla_adds() -> None:
    own, other = logits(0), logits(1)
    torch.testing.assert_close(AGLA(alpha=0.7, beta=0.0).logits(own, other, 0), own + 0.7 * other)


def test_tokens_that_are_forbidden_stay_so() -> None:
    own = logits(0).index_fill(1, torch.tensor([2]), -torch.inf)
    for contrast in (*STRONG.values(), *NEUTRAL.values(), PAIGuidance(gamma=1.0)):
        found = contrast.logits(own, logits(1), 3)
        assert found[:, 2].isneginf().all(), contrast
        assert not found.isnan().any(), contrast


def test_the_instruction_of_icd_stands_between_pictures_and_question(toy: VLM) -> None:
    branch = ICD(disturbance="look away .").branch(VLMPrompt(toy, samples()))
    assert isinstance(branch, VLMPrompt)
    assert [sample.turns[-1].question for sample in branch.samples] == [
        "<image>\nlook away . is there a star ?", "<image>\nlook away . describe the image .", "<image><image>\nlook away . is there a red moon ?"]


def test_branches_have_the_rules_that_their_docs_say(toy: VLM) -> None:
    rule = PAI(0.9, first_layer=0)
    prompt = VLMPrompt(toy, samples(), rules=[rule])
    rules = {name: getattr(STRONG[name].branch(prompt), "rules") for name in ("vcd", "icd", "pai", "m3id", "only")}  # noqa: B009
    assert rules["vcd"] == rules["icd"] == rules["m3id"] == [rule]
    assert not rules["pai"]
    assert [type(each) for each in rules["only"]] == [HeadGate]


def test_m3id_refuses_a_certainty_of_nothing() -> None:
    with pytest.raises(ValueError, match="M3ID: alpha is a probability"):
        M3ID(alpha=0.0)
