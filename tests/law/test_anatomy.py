"""The decoder of a model, its layers and its kind of positions are found, whatever the model."""
import pytest
import torch

from mm.language.anatomy import decoder_layers, text_decoder, uses_multimodal_rotary
from tests.families import FAMILIES, Family
from tests.toys import tiny


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
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
