"""PAINT from pixels to answers: the class token's rows are seen without a trace, and each picture's tokens get its own sets."""
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

import mm
from mm.language import Fresh, WordLevel
from mm.models import VLM, picture_sets
from mm.reweight import PAINT, token_sets
from mm.streams import MLP
from mm.vision import Transformers
from mm.vision.class_token import class_rows
from tests.allocation import Largest
from tests.dense import Dense, causal
from tests.families import FAMILIES, IMAGE, Family
from tests.generation import STEPS, answers, dense_ids, generate
from tests.toys import row
from tests.vlms import CONFIG, WORDS, about, picture, toy

TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 24, "patch_size": 4}


def tower(implementation: str = "sdpa", **sizes: int) -> CLIPVisionModel:
    torch.manual_seed(0)
    model = CLIPVisionModel(CLIPVisionConfig(**TOWER | sizes)).eval()
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.4)
    return model


def pixels(count: int = 3, size: int = 24) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def llava() -> Family:
    """With pictures of 4 x 4 patches and a tower of three layers."""
    def config() -> Any:
        made = FAMILIES["llava"].config()
        made.vision_config.image_size, made.vision_config.num_hidden_layers = 16, 3
        return made

    def image(generator: torch.Generator, ordinal: int, images: int) -> Any:
        piece = FAMILIES["llava"].image(generator, ordinal, images)
        return replace(piece, ids=[IMAGE] * 16, arrays={"pixel_values": torch.randn(1, 3, 16, 16, generator=generator)})

    return replace(FAMILIES["llava"], config=config, image=image)


def by_eager(model: AutoModelForImageTextToText, pixel_values: Tensor) -> Tensor:
    """Sets from the whole matrices of the eager tower."""
    eager = CLIPVisionModel(model.config.vision_config).eval()
    eager.load_state_dict(model.model.vision_tower.state_dict())
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = eager(pixel_values=pixel_values, output_attentions=True).attentions
    return token_sets(attentions[0], attentions[-2])


# --- what is seen


def test_rows_are_those_of_the_eager_tower() -> None:
    with torch.no_grad():
        wanted = tower("eager")(pixel_values=pixels(), output_attentions=True).attentions
    for layer, seen in zip((0, -2, 3), class_rows(tower(), pixels(), (0, -2, 3)), strict=True):
        torch.testing.assert_close(seen, wanted[layer][:, :, :1], rtol=0, atol=1e-6)
    assert (wanted[0] - wanted[-2]).abs().max() > 1e-2


def test_looking_leaves_no_trace_also_where_it_fails() -> None:
    model = tower()
    with torch.no_grad():
        before = model(pixel_values=pixels()).last_hidden_state
    class_rows(model, pixels(), (0, -2))
    with pytest.raises(ValueError, match="Input image size"):
        class_rows(model, pixels(size=16), (0, -2))
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    with torch.no_grad():
        assert torch.equal(model(pixel_values=pixels()).last_hidden_state, before)


def test_only_one_row_is_written_out() -> None:
    model = tower(image_size=128)  # 1,025 tokens
    with Largest() as largest:
        rows = class_rows(model, pixels(1, 128), (0, -2))
    assert rows[0].shape == (1, 2, 1, 1025)
    assert 0 < largest.bytes < 4 * 1025 * 1025


@pytest.mark.parametrize(("make", "reason"), [
    (lambda: class_rows(tower(), pixels(), (4,)), "layer 4 does not exist; the CLIPVisionModel has layers 0 to 3"),
    (lambda: class_rows(SiglipVisionModel(SiglipVisionConfig(**TOWER)), pixels(), (0,)), "SiglipVisionModel has no class token"),
    (lambda: picture_sets(FAMILIES["llava_next"].model(), pixels()), "does not read the patches of one picture in order"),
    (lambda: picture_sets(toy(), pixels()), "ConvViT has no class token"),
    (lambda: picture_sets(llava().model(), torch.randn(2, 3, 16, 16), [1, 2]), "the rows have 3 images together, and there are 2")])
def test_what_has_no_sets_is_refused_with_the_reason(make: Any, reason: str) -> None:
    with pytest.raises((TypeError, ValueError), match=reason):
        make()


# --- what comes of it


def test_sets_are_those_of_the_eager_tower_row_by_row() -> None:
    toy_llava = llava()
    model, inputs = toy_llava.model(), toy_llava.inputs(["sIqq", "IqIq", "qq"])
    wanted = by_eager(model, inputs["pixel_values"])
    found = picture_sets(model, inputs["pixel_values"], images=[1, 2, 0])
    assert torch.equal(found[0], torch.cat([wanted[0], torch.zeros(16, dtype=torch.long)]))
    assert torch.equal(found[1], wanted[1:].flatten())
    assert not found[2].any()
    assert (found[0] == 1).sum() + (found[0] == 2).sum() >= 4
    assert not torch.equal(wanted[0], wanted[1])


def test_steered_ids_are_those_of_scores_raised_by_hand() -> None:
    toy_llava = llava()
    model, inputs = toy_llava.model(), toy_llava.inputs(["ssIqqq"])
    sets = by_eager(model, inputs["pixel_values"])[0]
    image = inputs["input_ids"][0] == IMAGE
    share = torch.zeros(len(image))
    share[image] = torch.tensor([0.0, 0.7, 0.4])[sets]

    def raised(layer: int, scores: Tensor) -> Tensor:
        out, gain = scores.clone(), torch.nn.functional.pad(share, (0, scores.shape[-1] - len(image)))
        out[:, len(image) - 1:] += gain * scores[:, len(image) - 1:].abs()  # the last prompt token and every decoded one
        return out if layer == 1 else scores

    wanted = dense_ids(model, inputs, Dense(causal(len(image) + STEPS), scores=raised))
    rule = PAINT(first_layer=1).on(picture_sets(model, inputs["pixel_values"]))
    with mm.steer(model, reweight=[rule]):
        found = generate(model, inputs)
    assert torch.equal(answers(found)[0], wanted)
    assert (found.logits[0] - generate(model, inputs).logits[0]).abs().max() > 1e-3


def test_a_batch_of_pictures_is_each_alone_and_beams_are_told_twice() -> None:
    toy_llava, prompts = llava(), ["sIqq", "IqIq"]
    model, inputs = toy_llava.model(), toy_llava.inputs(prompts)
    sets = picture_sets(model, inputs["pixel_values"], images=[1, 2])
    with mm.steer(model, reweight=[PAINT(first_layer=0).on(sets)]):
        together = generate(model, inputs)
        with pytest.raises(ValueError, match=r"in 4 rows; give the sets of these pictures, for beams each row's as often"):
            generate(model, inputs, num_beams=2)
    with mm.steer(model, reweight=[PAINT(first_layer=0).on(sets.repeat_interleave(2, 0))]):
        beams = answers(generate(model, inputs, num_beams=2))
    for b, prompt in enumerate(prompts):
        alone = toy_llava.inputs([prompt])
        own = PAINT(first_layer=0).on(picture_sets(model, alone["pixel_values"], images=[b + 1]))
        with mm.steer(model, reweight=[own]):
            torch.testing.assert_close(torch.stack(together.logits)[:, b], torch.stack(generate(model, alone).logits)[:, 0], rtol=0, atol=1e-4)
        with mm.steer(model, reweight=[PAINT(first_layer=0).on(own.sets.repeat_interleave(2, 0))]):  # type: ignore[union-attr]
            assert torch.equal(beams[b], answers(generate(model, alone, num_beams=2))[0])


def test_a_prompt_in_pieces_keeps_each_picture_s_sets() -> None:
    toy_llava = llava()
    model, inputs = toy_llava.model(), toy_llava.inputs(["sIqIqq"])
    config = {"max_new_tokens": 5, "do_sample": False}
    with mm.steer(model, reweight=[PAINT(first_layer=0).on(picture_sets(model, inputs["pixel_values"], images=[2]))]):
        whole = model.generate(**inputs, **config)
        assert torch.equal(model.generate(**inputs, prefill_chunk_size=10, **config), whole)
    with pytest.raises(ValueError, match="one document a row"):
        PAINT().on(torch.zeros(1, 8, dtype=torch.long)).groups(row("iiq/iiqq"), 2)


def test_a_model_of_parts_sees_through_its_own_encoder() -> None:
    torch.manual_seed(0)
    encoder = Transformers({"model_type": "clip_vision_model", **TOWER}, layer=-2)
    vlm = VLM(encoder, MLP(16, 32), Fresh({"model_type": "llama", **CONFIG}, WordLevel(WORDS))).eval()
    with torch.no_grad():
        for parameter in vlm.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    sample = replace(about(0), media=(picture(0, size=(24, 24)),))
    frames = vlm.processor.prompt(sample).pixels
    sets = picture_sets(vlm, frames)
    assert torch.equal(sets, token_sets(*class_rows(encoder.model, encoder.normalised(frames), (0, -2))))
    plain = vlm.next_token_logits([sample])
    with mm.steer(vlm, reweight=[PAINT(first_layer=0).on(sets)]):
        assert not torch.equal(vlm.next_token_logits([sample]), plain)
    assert torch.equal(vlm.next_token_logits([sample]), plain)
