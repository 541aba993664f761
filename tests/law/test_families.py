"""What each token of a pretrained model's prompt is: as the prompt is written, as the model itself places it, and padding does not matter."""
import re
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from mm.language.anatomy import decoder_layers, text_decoder, uses_multimodal_rotary
from mm.masks import ImageBlock, Mask, Prefix
from mm.models import token_map
from mm.models.families import PlaceholderError
from mm.tokens import Kind, Role, TokenMap
from tests.families import FAMILIES, IMAGE, TEXT, Family
from tests.toys import batch, tiny

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
TABLES = ("kind", "document", "branch", "media", "frame", "row", "col", "role", "turn", "position")


def written(tokens: TokenMap, row: int = 0) -> list[str]:
    """A row token by token: . padding, s system, q question, a answer; a visual token as its media, frame, row and col, - where it has none."""
    here = tokens[row]
    return ["".join("-" if value < 0 else str(value) for value in place) if kind == Kind.VISION else ".sqa"[role]
            for kind, role, *place in zip(*(getattr(here, name).tolist() for name in ("kind", "role", "media", "frame", "row", "col")), strict=True)]


def meant(text: str) -> list[str]:
    """`written`, with [01:2x3] for the grid of media 0, frame 1, and [01:2x3n] where its rows end with a newline token."""

    def block(match: re.Match[str]) -> str:
        which, rows, cols, newline = match.groups()
        return " ".join(which + place for row in range(int(rows))
                        for place in [*(f"{row}{col}" for col in range(int(cols))), *(["--"] if newline else [])])

    return re.sub(r"\[(\d\d):(\d)x(\d)(n?)\]", block, text).split()


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


# --- the model itself says where its tokens are


def features(model: hf.PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
    """What replaces the placeholders, in their order, [tokens, width]."""
    given = {name: inputs[name] for name in ("pixel_values", "image_sizes") if name in inputs}
    found = model.get_image_features(**given).pooler_output
    return torch.cat([part.flatten(0, -2) for part in found]) if isinstance(found, list) else found.flatten(0, -2)


def without_mixing(family: Family) -> hf.PreTrainedModel:
    """The toy with a vision tower whose patches do not see each other."""
    model = family.model()
    for name, parameter in model.named_parameters():
        if ("vision" in name or "visual" in name) and re.search(r"out_proj|projection_layer", name):
            torch.nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("name", ["llava", "paligemma", "gemma3", "internvl", "idefics3", "smolvlm"])
def test_a_token_answers_to_the_pixels_at_its_place(name: str) -> None:
    family = FAMILIES[name]
    model, inputs = without_mixing(family), family.inputs(["IqI"])
    tokens, pixels = token_map(model, inputs), inputs["pixel_values"]
    vision = tokens[:, tokens.is_vision[0]]
    tile = (vision.row[0] + vision.col[0] == 0).cumsum(0) - 1
    side = pixels.shape[-1] // 2
    with torch.no_grad():
        before = features(model, inputs)
        for index in range(vision.shape[1]):
            row, col = int(vision.row[0, index]) * side, int(vision.col[0, index]) * side
            changed = pixels.clone()
            changed.view(-1, *pixels.shape[-3:])[tile[index], :, row:row + side, col:col + side] += 1
            assert (features(model, inputs | {"pixel_values": changed}) != before).any(-1).nonzero().flatten().tolist() == [index]


def test_a_token_of_the_mosaic_answers_to_its_tile() -> None:
    family = FAMILIES["llava_next"]
    model, inputs = without_mixing(family), family.inputs(["Iq"])
    vision = token_map(model, inputs)[:, :-1]
    with torch.no_grad():
        before = features(model, inputs)
        for row in range(2):
            for col in range(4):  # tile 0 is the whole picture, tiles 1 and 2 stand side by side
                changed = inputs["pixel_values"].clone()
                changed[0, 1 + col // 2, :, 4 * row:4 * row + 4, 4 * (col % 2):4 * (col % 2) + 4] += 1
                answers = (features(model, inputs | {"pixel_values": changed}) != before).any(-1)
                assert torch.equal(answers, ((vision.frame == 1) & (vision.row == row) & (vision.col == col))[0])


@pytest.mark.parametrize("name", ["llava_next", "llava_onevision"])
def test_pictures_of_any_size_have_the_tokens_that_the_model_packs(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    sizes = torch.randint(2, 60, (40, 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        packed = model.get_image_features(torch.zeros(40, 5, 3, 8, 8), sizes).pooler_output
    counts = [len(image) for image in packed]
    assert len(set(counts)) > 3
    ids = torch.cat([torch.tensor([*[IMAGE] * count, TEXT]) for count in counts])[None]
    tokens = token_map(model, {"input_ids": ids, "image_sizes": sizes})
    assert tokens.media[tokens.is_vision].bincount().tolist() == counts


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_rows_and_columns_are_those_of_multimodal_rotary_positions(name: str) -> None:
    family = FAMILIES[name]
    model, inputs = family.model(), family.inputs(["qIIq", "qVqI"])
    tokens = token_map(model, inputs)
    wanted = {key: inputs[key] for key in ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")}
    _, height, width = model.model.get_rope_index(**wanted)[0]
    for b in range(2):
        for media in range(2):
            for frame in range(int(tokens.frame[b, tokens.media[b] == media].max()) + 1):
                here = (tokens.media[b] == media) & (tokens.frame[b] == frame)
                assert torch.equal(height[b, here] - height[b, here].min(), tokens.row[b, here])
                assert torch.equal(width[b, here] - width[b, here].min(), tokens.col[b, here])


@each_family
def test_a_batch_generates_what_its_prompts_generate_alone(family: Family) -> None:
    model, prompts = family.model(), ["ssIqqq", "IIq", "qqq", "IqIqq"]
    settings: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False}
    together = model.generate(**family.inputs(prompts), **settings)[:, -5:]
    for made, prompt in zip(together, prompts, strict=True):
        assert torch.equal(made, model.generate(**family.inputs([prompt]), **settings)[0, -5:])


# --- roles and turns


def labelled(prompt: str) -> tuple[hf.PreTrainedModel, dict[str, Any]]:
    """Toy LLaVA's inputs, its answers labelled."""
    family = FAMILIES["llava"]
    inputs = family.inputs([prompt], left=False)
    answer = torch.tensor([letter == "a" for letter in prompt.replace("I", "IIII")])
    return family.model(), inputs | {"labels": inputs["input_ids"].masked_fill(~answer, -100)}


def test_without_labels_all_but_what_leads_is_the_first_question() -> None:
    family = FAMILIES["llava"]
    prompts = ["ssIqq", "IIq", "qqq"]
    for left in (True, False):
        found, wanted = token_map(family.model(), family.inputs(prompts, left=left)), batch("ss iiii qq", "iiii jjjj q", "qqq", left=left)
        for name in (*TABLES, "index"):
            assert torch.equal(getattr(found, name), getattr(wanted, name)), name


@pytest.mark.parametrize("mask", [Prefix(), ImageBlock()], ids=repr)
def test_labels_tell_answers_and_turns_so_that_masks_read_the_map_as_ours(mask: Mask) -> None:
    found, wanted = token_map(*labelled("ssIqqaaqa")), batch("ss iiii qqaaqa")
    for name in TABLES:
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    assert torch.equal(mask.dense(found), mask.dense(wanted))


def test_an_image_behind_an_answer_is_of_the_turn_of_its_question() -> None:
    tokens = token_map(*labelled("sIqaaIqa"))
    assert tokens.turn[0].tolist() == [-1, *[0] * 7, *[1] * 6]
    assert written(tokens) == meant("s [00:2x2] q a a [10:2x2] q a")


def test_text_before_an_image_is_no_system_prompt_once_it_was_answered() -> None:
    tokens = token_map(*labelled("qaIq"))
    assert written(tokens) == meant("q a [00:2x2] q")
    assert tokens.turn[0].tolist() == [0, 0, *[1] * 5]


def test_a_labelled_placeholder_is_no_answer() -> None:
    model, inputs = labelled("sIq")
    assert not token_map(model, inputs | {"labels": inputs["input_ids"]}).role[:, 1:5].eq(Role.ANSWER).any()


# --- what cannot be


def refused(name: str, prompts: list[str], **changes: Any) -> str:
    family = FAMILIES[name]
    inputs = {key: value for key, value in (family.inputs(prompts) | changes).items() if value is not None}
    with pytest.raises((PlaceholderError, TypeError, ValueError)) as caught:
        token_map(family.model(), inputs)
    return str(caught.value)


def test_a_grid_that_contradicts_the_token_count_is_named_with_its_row_and_image() -> None:
    message = refused("qwen2_5_vl", ["qIq", "IIq"], image_grid_thw=torch.tensor([[1, 4, 6], [1, 4, 6], [1, 4, 6]]))
    assert message.startswith("image 1 of row 1 (image 2 of the batch) needs 6 placeholder tokens, and the row has 4 left; make text and pixels with")
    message = refused("qwen2_5_vl", ["qIq", "IIq"], image_grid_thw=torch.tensor([[1, 4, 6], [1, 4, 6], [1, 2, 4]]))
    assert message.startswith("row 1 has 10 image placeholder tokens, and the 3 images of the batch fill 8 of them; pass everything")
    message = refused("qwen2_vl", ["qq", "Vq"], video_grid_thw=None)
    assert message.startswith("row 1 has 8 clip placeholder tokens, and the 0 clips of the batch fill 0")


def test_truncated_tiles_are_named_with_their_row_and_image() -> None:
    ids = FAMILIES["internvl"].inputs(["qIIq"])["input_ids"]
    ids[0, ids[0].eq(IMAGE).nonzero()[-1]] = TEXT
    assert refused("internvl", ["qIIq"], input_ids=ids).startswith("image 1 of row 0 has 3 placeholder tokens, and a tile of 2 x 2 has 4")
    assert "for 4 tiles of 2 x 2, and pixel_values has 1" in refused("internvl", ["qIIq"], pixel_values=torch.ones(1, 3, 8, 8))
    ids = FAMILIES["smolvlm"].inputs(["qIq", "qq"])["input_ids"]
    message = refused("smolvlm", ["qIq", "qq"], pixel_values=torch.ones(2, 2, 3, 8, 8))
    assert message.startswith("row 0 has image placeholders for 3 tiles, and its pixel_values have 2")
    ids[0, ids[0].eq(IMAGE).nonzero()[-1]] = TEXT
    assert refused("smolvlm", ["qIq", "qq"], input_ids=ids).startswith("row 0 has 3 image placeholders in a run at token")


def test_inputs_that_say_nothing_are_refused() -> None:
    assert "the inputs have none (inputs_embeds do not say where images are)" in refused("llava", ["qI"], input_ids=None)
    assert "pass the 2-D mask" in refused("llava", ["qI"], attention_mask=torch.ones(1, 1, 5, 5))
    assert "attention_mask is dict" in refused("llava", ["qI"], attention_mask={"full_attention": None})


def test_a_model_without_placeholders_is_refused_with_what_is_known() -> None:
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = hf.GitForCausalLM(hf.GitConfig(vision_config=small, vocab_size=32, **small))
    with pytest.raises(TypeError, match=r"GitForCausalLM lays out its prompts; known are .*LLaVA-1.5.*Gemma 3.*Give an explicit `tokens=` map"):
        token_map(model, {"input_ids": torch.ones(1, 3, dtype=torch.long)})


# --- models that are not listed, and the parts of models


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


@each_family
def test_the_decoder_and_its_layers_are_found(family: Family) -> None:
    model = family.model()
    decoder, layers = text_decoder(model), decoder_layers(model)
    assert decoder.config is model.config.get_text_config()
    assert [layer.self_attn.layer_idx for layer in layers] == [0, 1]
    assert not any("vision" in name or "lm_head" in name for name, _ in decoder.named_parameters())
    ran = []
    layers[0].register_forward_hook(lambda *_: ran.append(0))
    with torch.no_grad():
        model(**family.inputs(["Iq"]))
    assert ran == [0]


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_the_layers_of_plain_decoders_are_found(name: str) -> None:
    overrides = {"opt": {"word_embed_proj_dim": 32, "ffn_dim": 40}, "gpt2": {"n_embd": 32}}.get(name, {})
    model = tiny(name, **overrides)
    assert len(decoder_layers(model)) == 2
    assert decoder_layers(model) in list(text_decoder(model).children())


def test_multimodal_rotary_positions_are_those_of_the_qwen_vls() -> None:
    assert {name for name, family in FAMILIES.items() if uses_multimodal_rotary(family.model())} == {"qwen2_vl", "qwen2_5_vl", "qwen3_vl"}
    assert not uses_multimodal_rotary(tiny("qwen3"))
