"""Pretrained vision-language models with their processors: a batch is its rows alone, and what is said of an answer is what the model says."""
from pathlib import Path

import numpy as np
import pytest
import torch

from mm.models.pretrained import Asked, PretrainedVLM
from mm.models.pretrained.prompts import messages, parts_of
from mm.sample import BadSample, Media, Sample, Turn
from tests.processors import PROCESSORS, WITH_CLIPS, directory

CANDIDATES = ("yes", "no", "a star")


@pytest.fixture(scope="module", params=list(PROCESSORS))
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PretrainedVLM:
    return PretrainedVLM.load(directory(request.param, tmp_path_factory.mktemp("model") / request.param))


def family(vlm: PretrainedVLM) -> str:
    return str(vlm.model.config.model_type)


def picture(seed: int, height: int, width: int) -> Media:
    return Media(np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8))


def clip(seed: int, frames: int) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    return Media(pixels, "clip", tuple(0.5 * index for index in range(frames)))


def samples(vlm: PretrainedVLM) -> list[Sample]:
    """Everything that the family takes: one image, several between words, none, earlier turns, system text, clips of different lengths."""
    found = [Sample("one", (picture(0, 16, 24),), (Turn("<image>\nIs there a star ?"),)),
             Sample("long", (picture(1, 20, 12),), (Turn("<image>\nWhat do you see in the picture ?"),))]
    if vlm.prompter.has_template:
        found += [Sample("two", (picture(2, 16, 16), picture(3, 12, 24)), (Turn("Is <image> a star and <image> a ring ?"),), "be brief"),
                  Sample("none", (), (Turn("Is there a star ?"),)),
                  Sample("later", (picture(4, 16, 16),), (Turn("<image>\nIs there a star ?", "yes"), Turn("Is there a ring ?")))]
    if family(vlm) in WITH_CLIPS:
        found += [Sample(f"clip{frames}", (clip(frames, frames),), (Turn("<video>\nIs there a ring ?"),)) for frames in (4, 2, 4)]
    return found


def test_a_batch_is_its_rows_alone(vlm: PretrainedVLM) -> None:
    asked = samples(vlm)
    together, alone = vlm.generate(asked, 6), [vlm.generate([sample], 6)[0] for sample in asked]
    assert together == alone
    assert len(set(together)) > 1
    scores = torch.cat([vlm.score([sample], CANDIDATES) for sample in asked])
    torch.testing.assert_close(vlm.score(asked, CANDIDATES), scores, rtol=0, atol=2e-5)


def test_a_candidate_is_worth_what_a_forward_pass_over_it_says(vlm: PretrainedVLM) -> None:
    sample = samples(vlm)[0]
    prompt = vlm.prompter.prompt(sample)
    found = vlm.score([sample], CANDIDATES)[0]
    for candidate, logp in zip(CANDIDATES, found.tolist(), strict=True):
        given = {"suffix": candidate} if family(vlm) == "paligemma" else {}  # which the prompt then does not see
        text = prompt.text if given else f"{prompt.text} {candidate}</s>"
        written = vlm.processor.tokenizer.bos_token in prompt.text
        inputs = vlm.processor(text=[text], images=[prompt.images], return_tensors="pt", add_special_tokens=not written, **given)
        inputs.pop("labels", None)
        ids, count = inputs["input_ids"][0], len(candidate.split()) + 1
        assert vlm.whole(sample, candidate) == tuple(ids[-count:].tolist())
        with torch.no_grad():
            logits = vlm.model(**inputs).logits[0, -count - 1:-1].log_softmax(-1)
        assert logp == pytest.approx(float(logits.gather(1, ids[-count:, None]).sum()), abs=2e-5)


def test_a_candidate_on_the_way_of_greedy_decoding_is_read_on_it(vlm: PretrainedVLM) -> None:
    sample = samples(vlm)[0]
    (said,) = vlm.say([Asked(sample)], 4)
    way, other = tuple(said.ids[:3]), (said.ids[0], (said.ids[1] + 1) % 90, 2)
    (heard,) = vlm.say([Asked(sample, (), (way, other))], 4)
    (forced,) = vlm.say([Asked(sample, way, (way,))], 0)
    assert heard.ids == said.ids
    assert list(heard.logp) == [way]
    assert heard.logp[way] == pytest.approx(forced.logp[way], abs=2e-5)


def test_an_answer_that_is_begun_goes_on_as_it_would(vlm: PretrainedVLM) -> None:
    first, second = samples(vlm)[:2]
    whole = [said.ids for said in vlm.say([Asked(first), Asked(second)], 6)]
    begun = [Asked(first, tuple(whole[0][:2])), Asked(second, tuple(whole[1][:1]))]
    assert [said.ids for said in vlm.say(begun, 3)] == [whole[0][2:5], whole[1][1:4]]
    if vlm.prompter.has_template:
        assert vlm.begin(first, "a star") == vlm.whole(first, "a star")[:-1]


def test_placeholders_become_parts_of_a_message() -> None:
    assert parts_of("<image>\nIs it ?") == [{"type": "image"}, {"type": "text", "text": "Is it ?"}]
    assert [part.get("text", part["type"]) for part in parts_of("Is <image> a star\nand <image>\n<video> too ?")] == [
        "Is ", "image", " a star\nand ", "image", "video", " too ?"]
    sample = Sample("s", (), (Turn("a ?", "yes"), Turn("b ?", "not read")), "be brief")
    assert [message["role"] for message in messages(sample)] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(("name", "sample", "said"), [
    ("llava", Sample("s", (clip(0, 2),), (Turn("<video>\na ?"),)), "'s': it has a clip, and LlavaProcessor reads none"),
    ("llava", Sample("s", (picture(0, 8, 8),), (Turn("a ?"),)), "placeholders ask for nothing and it comes with image"),
    ("paligemma", Sample("s", (), (Turn("a ?", "b"), Turn("c ?"))), "no chat template, so it takes one turn"),
    ("paligemma", Sample("s", (), (Turn("a ?"),)), "'s': PaliGemmaProcessor refuses it")], ids=["clip", "placeholder", "turns", "no-image"])
def test_a_sample_that_does_not_fit_is_named(name: str, sample: Sample, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadSample, match=said):
        PretrainedVLM.load(directory(name, tmp_path)).generate([sample])
