"""Parts of diffusers that meet in a processor or around a denoiser: IP-Adapter, torch.compile."""
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from torch import Tensor

import mm
from mm.diffusion.moment import Moment
from tests import denoisers
from tests.denoisers import Toy, noise
from tests.edited_maps import MapEdit, MapForm
from tests.law.test_edits_fused import COLUMNS, PROMPTS, Given, controlled

GATED = Given(COLUMNS["gated"])


class FirstOnly(MapForm):
    """The map form of a model with IP-Adapter, whose second attention, over picture tokens, is not the text's."""

    def attention(self, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if key.shape[2] == 3:
            return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1) @ args[0]
        return super().attention(query, key, *args, **kwargs)


def with_adapter() -> Toy:
    toy = denoisers.sd()
    for name, module in list(toy.model.named_modules()):
        if name.endswith("attn2"):
            module.set_processor(IPAdapterAttnProcessor2_0(16, 12, num_tokens=(3,), scale=0.7))
    denoisers.louder(toy.model)
    toy.model.encoder_hid_proj = Passing()
    toy.model.register_to_config(encoder_hid_dim_type="ip_image_proj")
    toy.given["added_cond_kwargs"] = {"image_embeds": [noise(4, 3, 12)]}
    return toy


class Passing(torch.nn.Module):
    """Picture tokens as they are given."""

    def forward(self, image_embeds: list[Tensor]) -> list[Tensor]:
        return image_embeds


def test_trap_ip_adapter_keeps_its_own_attention_and_its_weights() -> None:
    toy = with_adapter()
    plain, keys, parameters = toy(), list(toy.model.state_dict()), [id(weight) for weight in toy.model.parameters()]
    before = dict(toy.model.attn_processors)
    with mm.control(toy.model, [GATED], prompts=PROMPTS) as control:
        control.at(0, 10)
        found = toy()
        assert list(toy.model.state_dict()) == keys
        assert [id(weight) for weight in toy.model.parameters()] == parameters
        inside = [processor for processor in toy.model.attn_processors.values() if isinstance(processor, IPAdapterAttnProcessor2_0)]
        inside[0].scale = [0.3]  # as pipe.set_ip_adapter_scale does
        changed = toy()
        inside[0].scale = [0.7]
    with FirstOnly([MapEdit(3, 2, COLUMNS["gated"])], False):
        expected = toy()
    assert len(inside) == 4
    assert (found - expected).abs().max() < 1e-12
    assert (found - changed).abs().max() > 1e-4
    assert torch.equal(found[:3], plain[:3])
    assert all(toy.model.attn_processors[name] is processor for name, processor in before.items())
    assert torch.equal(toy(), plain)


@dataclass(frozen=True)
class Until(Given):
    """Before step 2."""

    def gate(self, target: Any, moment: Moment) -> Tensor:
        return super().gate(target, moment) * float(moment.step < 2)


@pytest.mark.parametrize("first", ["control", "compiled"])
def test_trap_a_compiled_denoiser_does_not_recompile_for_gates(first: str) -> None:
    from torch._dynamo.utils import counters

    toy = denoisers.sana(4)
    edited, plain = controlled(toy, [Until(COLUMNS["gated"])]), toy()
    torch._dynamo.reset()
    counters.clear()
    toy.model.transformer_blocks[1].compile(backend="eager")  # as `compile_repeated_blocks` does; a whole model takes long
    if first == "compiled":
        assert torch.equal(toy(), plain)
    graphs = []
    for _ in range(2):
        with mm.control(toy.model, [Until(COLUMNS["gated"])], prompts=PROMPTS) as control:
            for step in range(4):
                control.at(step, 4)
                assert torch.equal(toy(), edited if step < 2 else plain)
                graphs.append(counters["stats"]["unique_graphs"])
    assert len(set(graphs)) == 1
    assert torch.equal(toy(), plain)
