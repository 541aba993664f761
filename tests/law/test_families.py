"""What each token of a pretrained model's prompt is: as the prompt is written, and padding does not matter."""
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from mm.language.anatomy import text_decoder
from mm.models import token_map
from mm.models.families import PlaceholderError
from mm.tokens import Kind, TokenMap
from tests.families import FAMILIES, IMAGE, TEXT, Family
from tests.toys import tiny
from tests.written import TABLES, meant, written

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


@pytest.mark.parametrize(("name", "prompt", "expected"), [
    ("llava", "ssIqIIq", "s s [00:2x2] q [10:2x2] [20:2x2] q"),
    ("llava", "qqq", "q q q"),
    ("llava_next", "sIIIq", "s [00:2x2] [01:2x4n] [10:2x2] [11:4x2n] [20:2x2] [21:2x2n] q"),
    ("llava_onevision", "sIq", "s [00:2x2] [01:2x2n] q"),
    ("llava_onevision", "IIq", "[00:2x2] 00-- [10:2x2] 10-- q"),
    ("llava_onevision", "VIqV", "0000 0100 0200 0--- [10:2x2] [11:2x2n] q 2000 2100 2200 2---"),
    ("qwen2_vl", "sIIq", "s s [00:2x3] q q [10:2x2] q q"),
    ("qwen2_vl", "Vq", "s [00:2x2] [01:2x2] q q"),
    ("qwen2_5_vl", "IqVIq", "s [00:2x3] q q q [10:2x2] [11:2x2] q q [20:1x2] q q"),
    ("qwen3_vl", "VVIq", "s s s [00:2x2] q q q q [01:2x2] q q q q [10:2x2] q q q q [11:2x2] q q [20:1x2] q q"),
    ("internvl", "IIsI", "s [00:2x2] [01:2x2] [02:2x2] q q [10:2x2] q q q [20:2x2] [21:2x2] q"),
    ("idefics3", "III", "s s [00:2x2] q q q [01:2x2] q q q q [02:2x2] q q q [10:2x2] q q q [20:2x2] q q [21:2x2] q q q q [22:2x2] q"),
    ("smolvlm", "sIIq", "s s s [00:2x2] q q q [01:2x2] q q q q [02:2x2] q q q [10:2x2] q q"),
    ("paligemma", "IIq", "[00:2x2] [10:2x2] q"),
    ("gemma3", "sIIq", "s s [00:2x2] q q [10:2x2] q q"),
])
def test_a_map_is_what_the_prompt_says(name: str, prompt: str, expected: str) -> None:
    family = FAMILIES[name]
    tokens = token_map(family.model(), family.inputs([prompt]))
    assert written(tokens) == meant(expected)
    assert tokens.position.tolist() == [list(range(tokens.shape[1]))]


@each_family
def test_each_row_of_a_batch_is_mapped_as_it_is_alone_on_either_side_of_its_padding(family: Family) -> None:
    model, prompts = family.model(), ["ssIqqIq", "qq", "IIIqqq", "qI" + "V" * (family.clip is not None)]
    for left in (True, False):
        together = token_map(model, family.inputs(prompts, left=left))
        for b, prompt in enumerate(prompts):
            alone, mine = token_map(model, family.inputs([prompt])), together[b:b + 1]
            for name in TABLES:
                assert torch.equal(getattr(mine, name)[mine.is_real], getattr(alone, name)[0]), name
            padding = mine[:, ~mine.is_real[0]]
            assert (padding.kind == Kind.PAD).all()
            assert (torch.stack([padding.document, padding.media, padding.turn, padding.row]) == -1).all()


@each_family
def test_the_visual_tokens_are_those_that_the_model_replaces(family: Family) -> None:
    model, inputs = family.model(), family.inputs(["sIqI", "qq", "IIq" + "V" * (family.clip is not None)])
    read: list[Tensor] = []
    text_decoder(model).register_forward_pre_hook(lambda module, args, kwargs: read.append(kwargs["inputs_embeds"]), with_kwargs=True)
    with torch.no_grad():
        model(**inputs)
        replaced = (read[0] != model.get_input_embeddings()(inputs["input_ids"])).any(-1)
    assert torch.equal(token_map(model, inputs).is_vision, replaced)


@each_family
def test_every_frame_is_a_full_grid_in_reading_order(family: Family) -> None:
    tokens = token_map(family.model(), family.inputs(["IqIIq" + "V" * (family.clip is not None)]))
    placed = tokens[:, (tokens.row[0] >= 0)]
    assert torch.equal(tokens.row >= 0, tokens.col >= 0)
    for media, frame in set(zip(placed.media[0].tolist(), placed.frame[0].tolist(), strict=True)):
        here = placed[:, (placed.media[0] == media) & (placed.frame[0] == frame)]
        rows, cols = int(here.row.max()) + 1, int(here.col.max()) + 1
        assert list(zip(here.row[0].tolist(), here.col[0].tolist(), strict=True)) == [(row, col) for row in range(rows) for col in range(cols)]


@each_family
def test_a_batch_generates_what_its_prompts_generate_alone(family: Family) -> None:
    model, prompts = family.model(), ["ssIqqq", "IIq", "qqq", "IqIqq"]
    settings: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False}
    together = model.generate(**family.inputs(prompts), **settings)[:, -5:]
    for made, prompt in zip(together, prompts, strict=True):
        assert torch.equal(made, model.generate(**family.inputs([prompt]), **settings)[0, -5:])


# --- models that are not listed, and layouts of images that are not usual


def vip() -> hf.PreTrainedModel:
    """A model that mm does not list, with LLaVA's prompts."""
    config = FAMILIES["llava"].config()
    return hf.VipLlavaForConditionalGeneration(hf.VipLlavaConfig(
        vision_config=config.vision_config, text_config=config.text_config, image_token_index=IMAGE, vision_feature_layers=[-2]))


def test_an_unlisted_model_gets_a_map_without_places_where_its_runs_are_its_images() -> None:
    inputs = FAMILIES["llava"].inputs(["qIqIq", "qI"])
    tokens = token_map(vip(), inputs)
    assert written(tokens) == meant("s 0--- 0--- 0--- 0--- q 1--- 1--- 1--- 1--- q")
    with pytest.raises(PlaceholderError, match="rows have 1 runs of image placeholders for 2 pixel_values, so its images cannot be told apart"):
        token_map(vip(), FAMILIES["llava"].inputs(["qIIq"]))


def test_a_plain_decoder_reads_text() -> None:
    real = torch.tensor([[0, 1, 1], [1, 1, 1]])
    found, wanted = token_map(tiny(), {"input_ids": real, "attention_mask": real}), TokenMap.text(real)
    for name in (*TABLES, "index"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name


def test_a_class_token_that_is_kept_has_no_place() -> None:
    family = FAMILIES["llava"]
    model, inputs = family.model(), family.inputs(["Iq"])
    model.config.vision_feature_select_strategy = "full"
    inputs["input_ids"] = torch.cat([inputs["input_ids"][:, :1], inputs["input_ids"]], 1)
    del inputs["attention_mask"]
    assert written(token_map(model, inputs)) == meant("00-- [00:2x2] q")


def test_images_of_their_own_sizes_have_their_own_grids_across_the_breaks_between_their_rows() -> None:
    """As Pixtral's processor writes them: a text token behind each row."""
    ids = torch.tensor([[*[IMAGE] * 2, TEXT, *[IMAGE] * 2, TEXT, *[IMAGE] * 3, TEXT]])
    inputs = {"input_ids": ids, "pixel_values": torch.zeros(2, 3, 8, 12), "image_sizes": torch.tensor([[8, 8], [4, 12]])}
    assert written(token_map(FAMILIES["llava"].model(), inputs)) == meant("0000 0001 q 0010 0011 q [10:1x3] q")
