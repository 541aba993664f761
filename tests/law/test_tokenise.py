"""Prompts stand at the keys that the pipeline fills, and their pieces spell the text."""
from inspect import signature
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from mm.diffusion.tokenise import tokenized, tokenized_by
from tests.golden import load
from tests.prompts import clip, gemma, qwen, t5

WORDS = ["a", "red", "blue", "circle", "square", "left", "of"]
TOKENISERS = {"clip": clip, "t5": lambda: t5(WORDS), "gemma": lambda: gemma(WORDS), "qwen": lambda: qwen(WORDS)}


def around(pipe: Any, kind: type) -> Any:
    """The pipeline with a denoiser that is only looked at."""
    pipe.__dict__["unet" if kind is UNet2DConditionModel else "transformer"] = kind.__new__(kind)
    return pipe


def clip_encoder(kind: type = CLIPTextModel) -> Any:
    return kind(CLIPTextConfig(vocab_size=49408, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1, projection_dim=8))


def t5_encoder(tokenizer: Any) -> Any:
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=8, d_kv=8, d_ff=8, num_layers=1, num_heads=1))


def read_by(encoder: torch.nn.Module) -> list[torch.Tensor]:
    """Token ids that the encoder will be given."""
    seen: list[torch.Tensor] = []
    encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    return seen


def test_recorded_prompts_have_the_recorded_tokens() -> None:
    cases = load("diffusion", "seq_aligner").replacement
    for case in cases:
        for side in ("source", "target"):
            [prompt] = tokenized_by(clip(), [case[side]])
            assert list(prompt.spans[0].ids) == case[f"{side}_ids"]
            assert list(prompt.spans[0].pieces[1:-1]) == case[f"{side}_pieces"][1:-1]
            assert prompt.keys == 77


@pytest.mark.parametrize("name", TOKENISERS)
@pytest.mark.parametrize("text", ["a red  circle, chinchilla", " a Red été 😀 cat… ", "", "\ta\n"], ids=["two blanks", "signs", "nothing", "one"])
def test_pieces_spell_the_text_whatever_cuts_it(name: str, text: str) -> None:
    span = tokenized_by(TOKENISERS[name](), [text], 40)[0].spans[0]
    assert "".join(span.pieces[span.before:len(span.pieces) - span.after]) == "".join(text.split())
    assert (span.before, span.after) == {"clip": (1, 1), "t5": (0, 1), "gemma": (0, 0), "qwen": (0, 0)}[name]


def test_a_tokeniser_without_places_decodes_its_tokens() -> None:
    class Slow:
        is_fast, model_max_length, eos_token_id = False, 16, 9

        def __call__(self, text: str, **options: bool) -> dict[str, list[int]]:
            assert not options["return_offsets_mapping"]
            ids = [0, *(1 + ["a", "red"].index(word) for word in text.split()), 9]
            return {"input_ids": ids, "special_tokens_mask": [1] + [0] * (len(ids) - 2) + [1]}

        def decode(self, ids: list[int]) -> str:
            return {0: "<s>", 1: "▁a", 2: "Ġred ", 9: "</s>"}[ids[0]]

    assert tokenized_by(Slow(), ["a red a"])[0].spans[0].pieces == ("<s>", "a", "red", "a", "</s>")


def test_a_prompt_that_would_be_cut_is_refused_with_what_would_be_lost() -> None:
    assert tokenized_by(clip(16), ["a " * 14])[0].spans[0].length == 16
    with pytest.raises(ValueError, match=r"has 18 tokens .* reads 16: 'chinchilla' would be lost; shorten"):
        tokenized_by(clip(16), ["a " * 12 + "red chinchilla"])
    with pytest.raises(ValueError, match="states no model_max_length"):
        tokenized_by(t5(WORDS), ["a"])


def test_sd_and_sdxl_have_one_span_and_sdxl_refuses_encoders_that_part() -> None:
    encoder, second = clip_encoder(), clip_encoder(CLIPTextModelWithProjection)
    seen = read_by(second)
    pipe = around(StableDiffusionXLPipeline(None, encoder, second, clip(), clip(), None, None), UNet2DConditionModel)
    [prompt] = tokenized(pipe, ["a chinchilla, sitting"])
    embedded = pipe.encode_prompt("a chinchilla, sitting", device="cpu", do_classifier_free_guidance=False)[0]
    assert [(span.start, span.length) for span in prompt.spans] == [(0, embedded.shape[1])]
    assert seen[0][0, :len(prompt.spans[0].ids)].tolist() == list(prompt.spans[0].ids)
    sd = around(StableDiffusionPipeline(None, encoder, clip(), None, None, None, None, requires_safety_checker=False), UNet2DConditionModel)
    assert tokenized(sd, ["a chinchilla, sitting"]) == [prompt]
    pipe.tokenizer_2 = clip(16)
    with pytest.raises(ValueError, match=r"cut 'a cat' differently, .* in 77 keys and .* in 16"):
        tokenized(pipe, ["a cat"])


def test_a_word_of_textual_inversion_is_one_word_of_several_tokens() -> None:
    tokenizer = clip(64)
    tokenizer.add_tokens(["<toy>", "<toy>_1", "<toy>_2"])
    sd = around(StableDiffusionPipeline(None, None, tokenizer, None, None, None, None, requires_safety_checker=False), UNet2DConditionModel)
    [prompt] = tokenized(sd, ["a <toy> cat"])
    assert (prompt.text, prompt.spans[0].pieces[1:-1]) == ("a <toy> cat", ("a", "", "", "<toy>", "cat"))


def test_trap_sd3_has_clip_and_t5_side_by_side() -> None:
    cutter = t5(WORDS)
    encoder, first, second = t5_encoder(cutter), *(clip_encoder(CLIPTextModelWithProjection) for _ in range(2))
    seen = read_by(encoder)
    pipe = around(StableDiffusion3Pipeline(None, None, None, first, clip(), second, clip(), encoder, cutter), SD3Transformer2DModel)
    [prompt] = tokenized(pipe, ["a red chinchilla"])
    assert [(span.start, span.length, span.before) for span in prompt.spans] == [(0, 77, 1), (77, 256, 0)]
    pipe._get_t5_prompt_embeds("a red chinchilla", device="cpu")
    assert seen[0].shape == (1, 256)
    assert seen[0][0, :len(prompt.spans[1].ids)].tolist() == list(prompt.spans[1].ids)
    assert tokenized(pipe, ["a red chinchilla"], max_sequence_length=128)[0].keys == 77 + 128
    pipe.text_encoder_3 = None
    [without] = tokenized(pipe, ["a red chinchilla"])
    assert (without.keys, without.spans[1].ids) == (77 + 256, ())


def test_flux_and_pixart_read_t5_at_the_pipelines_own_lengths() -> None:
    cutter = t5(WORDS)
    flux = around(FluxPipeline(None, None, None, clip(), t5_encoder(cutter), cutter, None), FluxTransformer2DModel)
    [prompt] = tokenized(flux, ["a red chinchilla"])
    assert [span.length for span in prompt.spans] == [512]
    encoder = t5_encoder(cutter)
    seen = read_by(encoder)
    pixart = around(PixArtAlphaPipeline(cutter, encoder, None, None, None), PixArtTransformer2DModel)
    [prompt] = tokenized(pixart, ["A red  circle"])
    pixart.encode_prompt("A red  circle", do_classifier_free_guidance=False, device=torch.device("cpu"))
    assert (prompt.text, prompt.keys) == ("A red  circle", seen[0].shape[1])
    assert seen[0][0, :len(prompt.spans[0].ids)].tolist() == list(prompt.spans[0].ids)
    pixart._clean_caption = lambda text: text.replace("&", "and")
    pixart._text_preprocessing = lambda texts, clean_caption: [pixart._clean_caption(text) for text in texts]
    with pytest.raises(ValueError, match="reads 'a & b' as 'a and b'; write the prompt so"):
        tokenized(pixart, ["a & b"])


def test_sana_reads_the_prompt_behind_its_instruction() -> None:
    cutter = gemma([*WORDS, "User", "Prompt:"])
    pipe = around(SanaPipeline(cutter, torch.nn.Identity(), None, None, None), SanaTransformer2DModel)
    [prompt] = tokenized(pipe, ["A red chinchilla"])
    span = prompt.spans[0]
    assert span.length == 300
    assert "".join(span.pieces[span.before:]) == "aredchinchilla"
    cutter.padding_side = "right"
    instruction = "\n".join(signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default)
    padded = cutter([instruction + "a red chinchilla"], padding="max_length", max_length=len(cutter.encode(instruction)) + 298)["input_ids"][0]
    assert (padded[:1] + padded[-299:])[:len(span.ids)] == list(span.ids)


def test_qwen_image_cuts_its_template_off() -> None:
    cutter = qwen(WORDS)
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    cut = len(cutter.encode(template.split("{}")[0]))

    class Pipe:
        transformer = type("QwenImageTransformer2DModel", (), {})()
        tokenizer, prompt_template_encode, prompt_template_encode_start_idx = cutter, template, cut

        def __call__(self, max_sequence_length: int = 512) -> None: ...

    prompts = tokenized(Pipe(), ["a red chinchilla", "a red circle"])
    assert prompts[0].keys == prompts[1].keys == len(cutter.encode(template.format("a red chinchilla"))) - cut
    span = prompts[1].spans[0]
    assert list(span.ids) == cutter.encode(template.format("a red circle"))[cut:]
    assert span.pieces[span.before:len(span.pieces) - span.after] == ("a", "red", "circle")


def test_an_unknown_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match="SimpleNamespace with Identity: where its text keys lie is not known; tokenise with tokenized_by"):
        tokenized(SimpleNamespace(unet=torch.nn.Identity()), ["a"])
