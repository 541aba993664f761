"""The sink channels of a model are found on the model, once, without leaving a trace."""
import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

import mm
from mm.language.anatomy import decoder_layers
from mm.masks import ImageBlock
from mm.models import NoSinkChannelsError, measured_sink_channels, sink_channels
from mm.reweight import VAR
from tests.families import BOS, FAMILIES, Family
from tests.toys import tiny
from tests.vlms import about, text, toy

WIDE: dict[str, Any] = {"hidden_size": 2048, "num_hidden_layers": 4}
PLANTED = (300, 17)


def plant(embedding: nn.Embedding, token: int, channels: tuple[int, ...] = PLANTED) -> None:
    """Makes the embedding of a token massive, the first channel most."""
    with torch.no_grad():
        for place, channel in enumerate(channels):
            embedding.weight[token, channel] = 1e6 * (1 - 0.3 * place)


def llava() -> tuple[Family, PreTrainedModel]:
    """A toy wide enough for sinks, whose first token is massive."""
    def config() -> Any:
        made = FAMILIES["llava"].config()
        made.get_text_config().update(WIDE)
        return made

    family = replace(FAMILIES["llava"], config=config)
    model = family.model()
    plant(model.get_input_embeddings(), BOS)
    return family, model


def inputs(family: Family, prompts: list[str], left: bool = True) -> dict[str, Any]:
    """With the beginning of sequence as each prompt's first token."""
    made = family.inputs(prompts, left)
    made["input_ids"][torch.arange(len(prompts)), made["attention_mask"].argmax(1)] = BOS
    return made


@pytest.mark.parametrize("left", [True, False])
def test_planted_channels_of_the_first_token_are_found_however_prompts_are_padded(left: bool) -> None:
    family, model = llava()
    prompts = [inputs(family, ["ssIqq", "sIqqqqqq"], left), inputs(family, ["sIq"])]
    assert sink_channels(model, prompts) == PLANTED


def test_channels_that_the_first_layer_makes_massive_are_found() -> None:
    """As in real models: the embedding is ordinary, and a feed-forward layer writes into two channels of every token."""
    model = tiny(**WIDE)
    with torch.no_grad():
        out = decoder_layers(model)[0].mlp.down_proj.weight
        out[40] *= 3e4
        out[41] = 0.9 * out[40]
    assert sink_channels(model, [{"input_ids": torch.arange(2, 9)[None]}]) == (40, 41)


def test_the_channels_of_a_vlm_are_those_of_its_decoder() -> None:
    vlm = toy(config=WIDE)
    first = int(vlm.processor.prompt(text()).input_ids[0])
    plant(vlm.language.model.get_input_embeddings(), first)
    assert sink_channels(vlm, [about(0), text(), about(1)]) == PLANTED


def test_var_finds_sinks_in_the_channels_that_were_found() -> None:
    family, model = llava()
    prompt = inputs(family, ["sIqqq"])
    plant(model.get_input_embeddings(), int(prompt["input_ids"][0, -1]), PLANTED[1:])
    rule = VAR.paper(sink_channels(model, [prompt]))
    tokens = mm.models.token_map(model, prompt)
    states: list[torch.Tensor] = []
    with mm.models.sinks.watched([decoder_layers(model)[2]], states), torch.no_grad():
        model(**prompt)
    hidden = states[0].clone()
    hidden[0, 2, PLANTED[0]] = 1e8  # a patch becomes a sink
    groups = rule.groups(tokens, 2, hidden)
    assert groups is not None
    assert groups[0].tolist() == [1, 3, 2, 3, 3, 0, 0, 1]


def test_a_model_is_asked_once_and_forgotten_with_itself() -> None:
    family, model = llava()
    prompts = [inputs(family, ["sIq"])]
    calls: list[int] = []
    hook = model.register_forward_pre_hook(lambda *_: calls.append(1))
    assert sink_channels(model, prompts) == sink_channels(model, prompts) == PLANTED
    assert len(calls) == 1
    assert sink_channels(model, prompts, threshold=10.0) == measured_sink_channels(model, prompts, threshold=10.0) == PLANTED
    assert len(calls) == 3
    hook.remove()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_looking_leaves_no_trace_and_neither_does_an_error() -> None:
    family, model = llava()
    model.train()
    prompt = inputs(family, ["sIq"])
    with pytest.raises(ValueError, match=r"pixel|image"):
        sink_channels(model, [{**prompt, "pixel_values": prompt["pixel_values"][:, :, :4, :4]}])
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert sink_channels(model, [prompt]) == PLANTED
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_steered_model_is_read_under_its_levers() -> None:
    family, model = llava()
    with mm.steer(model, mask=ImageBlock()):
        assert sink_channels(model, [inputs(family, ["sIq"])]) == PLANTED
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_that_has_none_says_why() -> None:
    with pytest.raises(NoSinkChannelsError, match=r"LlamaForCausalLM is 32 wide, and no .* 5\.7, times its root mean square: none exceeds 20"):
        sink_channels(tiny(), [{"input_ids": torch.arange(2, 9)[None]}])
    with pytest.raises(NoSinkChannelsError, match=r"in the layers 1 to 2 of LlamaForCausalLM no channel .* above 20 times .* largest single one: \d"):
        sink_channels(tiny(**WIDE), [{"input_ids": torch.arange(2, 9)[None]}])


def test_prompts_of_the_wrong_kind_or_none_are_refused() -> None:
    family, model = llava()
    with pytest.raises(ValueError, match="at least one prompt"):
        sink_channels(model, [])
    with pytest.raises(TypeError, match="LlavaForConditionalGeneration cannot read a Sample"):
        sink_channels(model, [about(0)])
    with pytest.raises(TypeError, match="VLM cannot read a dict"):
        sink_channels(toy(config=WIDE), [inputs(family, ["sIq"])])
