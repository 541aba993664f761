"""The seam itself: what it leaves alone, what it puts back, what it refuses."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mm
from mm.diffusion import Branches, MutualSelfAttention, PlugAndPlay, Recorder, Row, SelfInject, Window
from mm.diffusion.columns import NEUTRAL, Columns
from mm.diffusion.edit import Edit
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt
from tests import denoisers
from tests.denoisers import Toy, noise
from tests.edited_maps import MapEdit, MapForm, map_form
from tests.law.test_edits_fused import ALL, COLUMNS, FAMILIES, PROMPTS, Given, controlled

GATED = Given(COLUMNS["gated"])


@dataclass(frozen=True)
class From(Given):
    """From a step on."""

    step: int = 5

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        return super().gate(target, moment) * float(moment.step >= self.step)


def processors(model: nn.Module) -> dict[str, Any]:
    return {name: module.processor for name, module in model.named_modules() if hasattr(module, "processor")}


@pytest.mark.parametrize("family", [*FAMILIES, denoisers.sana], ids=lambda family: family.__name__)
def test_neutral_edits_are_the_plain_model_to_the_bit(family: Callable[[], Toy]) -> None:
    toy = family()
    resting: list[Edit] = [Given(NEUTRAL), Given(Columns(own=torch.ones(denoisers.WORDS))), From(COLUMNS["gated"]), SelfInject(Window(0.5, 1.0)),
                           MutualSelfAttention()]
    assert torch.equal(controlled(toy, resting), toy())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_trap_leaving_restores_the_model_to_the_bit(family: Callable[[], Toy]) -> None:
    toy = family()
    before, state, plain = processors(toy.model), dict(toy.model.state_dict()), toy()
    with mm.control(toy.model, [GATED], prompts=PROMPTS) as control:
        control.at(0, 10)
        toy()
        assert toy.model.state_dict().keys() == state.keys()
        assert all(type(now) is not type(before[name]) for name, now in processors(toy.model).items())
    assert all(now is before[name] for name, now in processors(toy.model).items())
    assert processors(toy.model).keys() == before.keys()
    assert torch.equal(toy(), plain)
    hooks = [module for module in toy.model.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert not hooks


def test_an_exception_in_the_middle_restores_the_model() -> None:
    toy = denoisers.sd()
    before, plain = processors(toy.model), toy()

    def fail(*_: Any) -> None:
        raise RuntimeError("in the middle")

    handle = toy.model.mid_block.register_forward_hook(fail)
    with mm.control(toy.model, [GATED], prompts=PROMPTS) as control:
        control.at(0, 10)
        with pytest.raises(RuntimeError, match="in the middle"):
            toy()
    with pytest.raises(RuntimeError, match="in the middle"), mm.control(toy.model, [], prompts=PROMPTS):
        toy()
    handle.remove()
    assert all(now is before[name] for name, now in processors(toy.model).items())
    assert torch.equal(toy(), plain)
    matches = map_form(toy, [MapEdit(3, 2, COLUMNS["gated"])])
    assert (controlled(toy, [GATED]) - matches).abs().max() < 1e-12


def test_two_controls_of_one_model_are_refused() -> None:
    toy = denoisers.sd()
    with mm.control(toy.model, [GATED], prompts=PROMPTS), \
            pytest.raises(ValueError, match="is under control already"), mm.control(toy.model, [GATED], prompts=PROMPTS):
        pass


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (10, 14)], ids=str)
def test_pictures_of_any_shape(size: tuple[int, int]) -> None:
    toy = denoisers.sd(4, *size)
    with mm.control(toy.model, [SelfInject(ALL, side=1.0), GATED], prompts=PROMPTS) as control:
        control.at(0, 10)
        found = toy()
    expected = map_form(toy, [MapEdit(3, 2, COLUMNS["gated"], frozenset({"q", "k"}))])
    assert (found - expected).abs().max() < 1e-12
    grids = {(site.height, site.width) for site in control.sites.values()}
    assert grids == {size, (-(-size[0] // 2), -(-size[1] // 2))}


def test_trap_sites_are_numbered_in_order_of_execution_not_of_registration() -> None:
    toy = denoisers.sd()
    listed = [name for name in toy.model.attn_processors if "attn1" in name]
    with mm.control(toy.model, [], prompts=PROMPTS) as control:
        toy()
    selves = [site for site in control.sites.values() if site.kind == "self"]
    assert [site.place for site in selves] == ["down", "mid", "up", "up"]
    assert [site.index for site in selves] == [0, 1, 2, 3]
    assert [site.layer for site in selves] == [0, 0, 0, 1]
    assert "mid" in listed[-1]


def test_trap_several_pictures_of_a_prompt_are_prompt_major() -> None:
    toy = denoisers.sd(8)
    with mm.control(toy.model, [GATED], prompts=PROMPTS, branches=Branches.guided(2, 2)) as control:
        control.at(0, 10)
        found = toy()
    expected = map_form(toy, [MapEdit(6, 4, COLUMNS["gated"]), MapEdit(7, 5, COLUMNS["gated"])])
    assert (found - expected).abs().max() < 1e-12
    assert torch.equal(found[:6], toy()[:6])


def test_trap_conditional_first_and_other_layouts_are_said_and_not_guessed() -> None:
    toy = denoisers.sd(4)
    layouts = {Branches.conditional_first(2): (1, 0), Branches((Row(1), Row(0), Row(0, conditional=False), Row(0, 1))): (0, 1)}
    for branches, (row, source) in layouts.items():
        with mm.control(toy.model, [GATED], prompts=PROMPTS, branches=branches) as control:
            control.at(0, 10)
            found = toy()
        assert (found - map_form(toy, [MapEdit(row, source, COLUMNS["gated"])])).abs().max() < 1e-12


def test_trap_halves_of_guidance_in_calls_of_their_own() -> None:
    negative, conditional = denoisers.sd(2), denoisers.sd(2)
    conditional.given["encoder_hidden_states"] = noise(2, denoisers.WORDS, 12) + 1
    both = [Branches.negative(2), Branches.unguided(2)]
    model = conditional.model
    with mm.control(model, [GATED, MutualSelfAttention(0, 0)], prompts=PROMPTS, branches=both) as control, torch.no_grad():
        control.at(0, 10)
        found = [model(**toy.given).sample for toy in (negative, conditional)]
        with pytest.raises(ValueError, match="given for 2 calls of the denoiser in a step, and this is call 3"):
            model(**negative.given)
    takes = frozenset({"k", "v"})
    expected = [map_form(negative, [MapEdit(1, 0, takes=takes)]), map_form(conditional, [MapEdit(1, 0, COLUMNS["gated"], takes)])]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-12


def test_a_batch_that_does_not_fit_is_one_clear_error() -> None:
    toy = denoisers.sd(3)
    with pytest.raises(ValueError, match="called with 3 rows, and `branches` has 4"), \
            mm.control(toy.model, [], prompts=PROMPTS, branches=Branches.guided(2)):
        toy()
    with pytest.raises(ValueError, match="called with 3 rows, and 2 prompts with guidance need a multiple of 4"), \
            mm.control(toy.model, [], prompts=PROMPTS):
        toy()
    with pytest.raises(ValueError, match="without `prompts` nobody knows what the rows are"), \
                mm.control(toy.model, recorders=[Recorder([[[1]]])]):
        toy()


def test_t6_a_skipped_attention_does_not_move_the_step() -> None:
    toy = denoisers.sd()
    edit = From(COLUMNS["gated"])
    with mm.control(toy.model, [edit], prompts=PROMPTS) as control, torch.no_grad():
        for step in range(8):
            control.at(step, 10)
            if step == 3:
                toy.model.down_blocks[0].attentions[0](noise(4, 16, 8, 8), encoder_hidden_states=toy.given["encoder_hidden_states"])
            assert torch.equal(toy(), denoisers.sd()()) == (step < 5)


def test_t7_every_attention_of_the_model_is_found() -> None:
    for family in (*FAMILIES, denoisers.sana):
        toy = family()
        with mm.control(toy.model, [], prompts=PROMPTS) as control:
            toy()
        assert len(control.sites) == len(processors(toy.model)) - (2 if family is denoisers.sana else 0)  # Sana's linear ones


def test_t8_norms_residuals_and_rescaling_stay_the_stock_code() -> None:
    toy = denoisers.sd()
    attention = toy.model.mid_block.attentions[0].transformer_blocks[0].attn2
    attention.group_norm = nn.GroupNorm(4, 16).double().requires_grad_(False)
    attention.residual_connection, attention.rescale_output_factor = True, 1.7
    assert (controlled(toy, [GATED]) - map_form(toy, [MapEdit(3, 2, COLUMNS["gated"])])).abs().max() < 1e-12


@pytest.mark.parametrize("family", [denoisers.sd, denoisers.sdxl, denoisers.flux], ids=lambda family: family.__name__)
def test_trap_fused_projections_are_edited_too(family: Callable[[], Toy]) -> None:
    toy = family()
    plain = controlled(toy, [GATED])
    toy.model.fuse_qkv_projections()
    assert (controlled(toy, [GATED]) - plain).abs().max() < 1e-12
    toy.model.unfuse_qkv_projections()
    assert torch.equal(controlled(toy, [GATED]), plain)


def test_lora_takes_part() -> None:
    from peft import LoraConfig

    toy = denoisers.sd()
    without = controlled(toy, [GATED])
    toy.model.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    toy.model.double()
    found = controlled(toy, [GATED])
    assert (found - map_form(toy, [MapEdit(3, 2, COLUMNS["gated"])])).abs().max() < 1e-12
    assert (found - without).abs().max() > 1e-3


def test_trap_old_processors_are_refused_with_what_to_do() -> None:
    from diffusers.models.attention_processor import AttnProcessor

    toy = denoisers.sd()
    toy.model.set_attn_processor(AttnProcessor())
    with pytest.raises(ValueError, match="attn1' was not seen: its processor AttnProcessor does not call"):
        controlled(toy, [SelfInject(ALL, side=1.0)])
    with pytest.raises(ValueError, match="attn2' was not seen: its processor AttnProcessor does not call"):
        controlled(toy, [GATED])


def test_a_step_has_to_be_said_for_a_bare_denoiser() -> None:
    toy = denoisers.sd()
    with pytest.raises(ValueError, match=r"call control.at\(step, steps\) before the denoiser"), \
            mm.control(toy.model, [GATED], prompts=PROMPTS):
        toy()


def test_prompts_that_do_not_fit_the_text_are_refused() -> None:
    toy = denoisers.sd()
    with mm.control(toy.model, [GATED], prompts=[denoisers.prompt("a cat", 9)] * 2) as control:
        control.at(0, 10)
        with pytest.raises(ValueError, match=r"'a cat' has 9 keys and '.*' reads 6 text keys"):
            toy()
    with pytest.raises(ValueError, match="edits of words need the prompts of the source and of at least one target; got 0"), \
            mm.control(toy.model, [GATED]):
        pass
    with pytest.raises(ValueError, match="a bare UNet2DConditionModel has no tokenizer"), mm.control(toy.model, [], prompts=["a cat"]):
        pass
    with pytest.raises(ValueError, match="how Linear lays out text and picture is not known; known are UNet2DConditionModel"), \
            mm.control(nn.Linear(1, 1)):
        pass


def test_plug_and_play_takes_features_queries_and_keys() -> None:
    toy = denoisers.sd()
    name = "up_blocks.1.resnets.0"
    block = toy.model.get_submodule(name)

    def take(module: nn.Module, args: Any, result: Tensor) -> Tensor:
        return torch.stack([result[0], result[2], result[2], result[2]])

    with mm.control(toy.model, [PlugAndPlay(ALL, ALL, name, layer=1)], prompts=PROMPTS) as control:
        control.at(0, 10)
        found = toy()
        control.at(5, 10)
    taking = [MapEdit(row, 2, takes=frozenset({"q", "k"})) for row in (1, 3)]
    layers: list[list[MapEdit]] = [[], [], [], [], [], [], taking, []]

    class Late(MapForm):
        def attention(self, *args: Any, **kwargs: Any) -> Tensor:
            self.edits = layers[len(self.words) + len(self.selves)]
            return super().attention(*args, **kwargs)

    handle = block.register_forward_hook(take)
    with Late([], False):
        expected = toy()
    handle.remove()
    assert (found - expected).abs().max() < 1e-12
    with pytest.raises(ValueError, match="PlugAndPlay acts on no module"), mm.control(toy.model, [PlugAndPlay(block="up")], prompts=PROMPTS):
        pass


def test_gradients_flow_through_edits() -> None:
    toy = denoisers.sd()
    text = toy.given["encoder_hidden_states"].clone().requires_grad_()
    with mm.control(toy.model, [Given(COLUMNS["gated and normalised"]), SelfInject(ALL, side=1.0)], prompts=PROMPTS) as control:
        control.at(0, 10)
        out = toy.model(**(toy.given | {"encoder_hidden_states": text})).sample[3].square().sum()
    gradient, = torch.autograd.grad(out, text)
    step = 1e-6 * torch.randn(text.shape, generator=torch.Generator().manual_seed(3), dtype=text.dtype)
    edit = MapEdit(3, 2, COLUMNS["gated and normalised"], frozenset({"q", "k"}))
    moved = [Toy(toy.model, toy.given | {"encoder_hidden_states": text.detach() + sign * step}) for sign in (1, -1)]
    ends = [map_form(end, [edit])[3].square().sum() for end in moved]
    assert float(ends[0] - ends[1]) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-5)
    assert gradient[2].abs().max() > 0


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_recorder_alone_changes_nothing(family: Callable[[], Toy]) -> None:
    toy = family()
    with mm.control(toy.model, [], prompts=PROMPTS, recorders=[Recorder([[(1,)], [(1,)]])]):
        assert torch.equal(toy(), toy())
