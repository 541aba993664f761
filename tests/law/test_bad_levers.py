"""A lever that cannot hold is one clear error, which names it, what was found, what was expected and what to do; the model is then as it was."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import mm
from eval.__main__ import main
from mm.language.anatomy import text_decoder
from mm.masks import BlindTokenError, Causal, ImageBlock, Mask, ModalityMutual, PositionCausal
from mm.models import token_map
from mm.positions import Concentric
from mm.reweight import ACT, CMAI, DARA, PAI, PAINT, VAR, Reweight, Rule, ZeroTuning
from mm.tokens import Role, TokenMap
from tests.families import FAMILIES
from tests.toys import row
from tests.vlms import about, toy


def llava() -> tuple[PreTrainedModel, dict[str, Any]]:
    return FAMILIES["llava"].model(), FAMILIES["llava"].inputs(["ssIqqq"])


def untouched(model: PreTrainedModel) -> bool:
    return (model.config.get_text_config()._attn_implementation == "sdpa" and "generate" not in vars(model)
            and not any(module._forward_pre_hooks for module in model.modules()) and not hasattr(text_decoder(model), "_mm_levers"))


# --- layers and heads that the model does not have

ABSENT: list[tuple[Rule, str]] = [
    *((rule, r": first_layer is 2, and the model has layers 0 to 1; set first_layer to one of them, or count from the end")
      for rule in (VAR(), ACT(), PAI(), PAINT(), CMAI())),
    *((kind(first_layer=0, last_layer=-3), r": last_layer is -3, and the model has layers 0 to 1; set last_layer")
      for kind in (VAR, ACT, PAI, PAINT, CMAI)),
    (ZeroTuning(2.0, first_layer=2), ": first_layer is 2, and the model has layers 0 to 1"),
    (PAI(first_layer=1, last_layer=0), ": from layer 1 to 0 of 2 there is none; set first_layer and last_layer"),
    (ACT(heads=[(0, 4)], first_layer=0, last_layer=-1),
     r": head 4 of layer 0 does not exist; .* layers 0 to 1 with heads 0 to 3; give heads that a search"),
    (ZeroTuning(2.0, heads=[(1, 3), (2, 0)]), ": head 0 of layer 2 does not exist; the model has layers 0 to 1 with heads 0 to 3"),
    (DARA(layers=[0, 2]), ": layer 2 does not exist; the model has layers 0 to 1: set `layers`"),
    (DARA(heads=3), ": it was made for 3 heads, and the model has 4; leave `heads` out")]


@pytest.mark.parametrize(("rule", "said"), ABSENT, ids=lambda value: type(value).__name__ if isinstance(value, Rule) else "")
def test_a_rule_for_layers_or_heads_that_do_not_exist(rule: Rule, said: str) -> None:
    model, _ = llava()
    with pytest.raises(ValueError, match=f"^{type(rule).__name__}{said}"), mm.steer(model, reweight=[rule]):
        pass
    assert untouched(model)
    vlm = toy()
    held = vlm.reweight
    with pytest.raises(ValueError, match=f"^{type(rule).__name__}{said}"), mm.steer(vlm, mask=ImageBlock(), reweight=[rule]):
        pass
    assert vlm.reweight is held
    assert isinstance(vlm.mask, Causal)


def test_one_rule_twice_is_told_from_two() -> None:
    rule = PAI(first_layer=0)
    with pytest.raises(ValueError, match=r"a rule stands in the list twice; make a second one"), mm.steer(toy(), reweight=[rule, rule]):
        pass


# --- masks that blind a real row


class Strict(Mask):
    """Sees what came before, not itself."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return k.index < q.index


class Silent(Mask):
    """Answers see nothing."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return (k.index <= q.index) & (q.role != Role.ANSWER)


BLIND = r"hides token {} of row 0 from itself; a mask must let every real token see at least itself: combine it with `\|`"


def test_a_mask_that_blinds_a_real_row() -> None:
    model, inputs = llava()
    said = r"Strict\(\) " + BLIND.format(0)
    with pytest.raises(BlindTokenError, match=said), mm.steer(model, mask=Strict()):
        model(**inputs)
    with pytest.raises(BlindTokenError, match=said), mm.steer(model, mask=Strict()):
        model.generate(**inputs, max_new_tokens=2)
    assert untouched(model)
    vlm = toy()
    for read in (lambda: vlm.next_token_logits([about(0)]), lambda: vlm.generate([about(0)])):
        with pytest.raises(BlindTokenError, match=said), mm.steer(vlm, mask=Strict()):
            read()


def test_a_mask_that_blinds_what_is_decoded() -> None:
    model, inputs = llava()
    with pytest.raises(BlindTokenError, match=r"Silent\(\) " + BLIND.format(9)), mm.steer(model, mask=Silent()):
        model.generate(**inputs, max_new_tokens=2)


# --- groups and factors that are none of the rule's


class TwoGroups(Reweight):
    """Image tokens are group 1, unless a subclass errs."""

    group_count = 2

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        return tokens.is_vision.long()

    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        return torch.ones_like(mass)


class TooHigh(TwoGroups):
    def groups(self, tokens: TokenMap, *rest: Any) -> Tensor:
        return 2 * tokens.is_vision.long()


class Negative(TwoGroups):
    def groups(self, tokens: TokenMap, *rest: Any) -> Tensor:
        return tokens.media


class Longer(TwoGroups):
    def groups(self, tokens: TokenMap, *rest: Any) -> Tensor:
        return torch.nn.functional.pad(tokens.is_vision.long(), (0, 1))


class Floating(TwoGroups):
    def groups(self, tokens: TokenMap, *rest: Any) -> Tensor:
        return tokens.is_vision.float()


class DecodedElsewhere(TwoGroups):
    decoded_group = 2


class Headwise(TwoGroups):
    def groups(self, tokens: TokenMap, *rest: Any) -> Tensor:
        return tokens.is_vision.long().unsqueeze(1).expand(-1, 3, -1)


class OneFactor(TwoGroups):
    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        return torch.ones_like(mass)[:1]


@pytest.mark.parametrize(("kind", "said"), [
    (TooHigh, r"TooHigh\(\) gave groups from 0 to 2; it has groups 0 to 1: correct `groups` or `group_count`"),
    (Negative, r"Negative\(\) gave groups from -1 to 0; it has groups 0 to 1"),
    (Longer, r"Longer\(\) gave groups torch.int64 \(1, 10\) for 1 rows of 9 tokens; they are torch.int64, \[B, N\] or \[B, H, N\]: correct"),
    (Floating, r"Floating\(\) gave groups torch.float32 \(1, 9\) for 1 rows of 9 tokens; they are torch.int64"),
    (DecodedElsewhere, r"DecodedElsewhere\(\) puts decoded tokens into group 2; it has groups 0 to 1: correct its `decoded_group`"),
    (Headwise, r"the groups of Headwise\(\) are \(1, 3, 9\), and the call has 1 rows and 4 heads"),
    (OneFactor, r"OneFactor\(\) gave factors for 1 groups; it has 2: its `weights` returns \[G, B, H, Q\]")])
def test_groups_outside_their_range(kind: Callable[[], Rule], said: str) -> None:
    model, inputs = llava()
    with pytest.raises(ValueError, match=said), mm.steer(model, reweight=[kind()]):
        model(**inputs)
    assert untouched(model)


def test_the_rule_that_the_others_got_wrong_is_right() -> None:
    model, inputs = llava()
    with torch.no_grad():
        plain = model(**inputs).logits
        with mm.steer(model, reweight=[TwoGroups()]):
            torch.testing.assert_close(model(**inputs).logits, plain, rtol=0, atol=1e-4)


def test_more_images_than_a_rule_has_factors_for() -> None:
    model = FAMILIES["llava"].model()
    with pytest.raises(ValueError, match=r"DARA has factors for 1 images, and a prompt has 2; make it with that many"), \
            mm.steer(model, reweight=[DARA(images=1)]):
        model(**FAMILIES["llava"].inputs(["IIq"]))


# --- grids that contradict the tokens


def test_a_grid_that_contradicts_the_number_of_tokens() -> None:
    tokens = row("ss iiii qqq")
    with pytest.raises(ValueError, match=r"Concentric: image 0, frame 0 of document 0 in row 0 has 4 tokens that are no raster of 1 x 2 \(token 2 is "
                                         r"at row 0, col 0\), so it has no rings; use a projector that keeps the grid, .* or other positions"):
        Concentric().assign(replace(tokens, row=tokens.row.clamp(max=0)))
    with pytest.raises(ValueError, match=r"has 3 tokens that are no raster of 2 x 1"):
        Concentric().assign(row("ss iiii qqq")[:, [0, 1, 2, 3, 4, 6, 7, 8]])
    with pytest.raises(ValueError, match=r"has no place in the picture \(row -1, col -1\)"):
        Concentric().assign(replace(tokens, row=torch.full_like(tokens.row, -1), col=torch.full_like(tokens.col, -1)))


def test_a_grid_that_contradicts_the_number_of_tokens_of_a_steered_model() -> None:
    model, inputs = llava()
    tokens = token_map(model, inputs)
    with (pytest.raises(ValueError, match=r"Concentric: image 0, .* has 4 tokens that are no raster of 2 x 1"),
          mm.steer(model, mask=PositionCausal(), positions=Concentric(), tokens=replace(tokens, col=tokens.col.clamp(max=0)))):
        model(**inputs)
    assert untouched(model)
    tiled = FAMILIES["llava_next"].model()  # each row of its mosaic ends with a token that is no place of the picture
    with pytest.raises(ValueError, match=r"Concentric: image 0, frame 1 .* 10 tokens, the last of which has no place"), \
            mm.steer(tiled, positions=Concentric()):
        tiled(**FAMILIES["llava_next"].inputs(["sIq"]))


def test_placeholders_that_are_not_what_the_picture_needs() -> None:
    model, inputs = llava()
    short = {name: inputs[name][:, :4] for name in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match=r"image 0 of row 0 .* needs 4 placeholder tokens, and the row has 2 left; make text and pixels"), \
            mm.steer(model, mask=ImageBlock()):
        model(**inputs | short)


# --- half precision


def test_hidden_states_that_overflow_half_precision() -> None:
    model, inputs = FAMILIES["llava"].model().half(), FAMILIES["llava"].inputs(["qqqqq"])
    with torch.no_grad():
        model.get_input_embeddings().weight[inputs["input_ids"][0, 3], 5] = torch.inf
    with pytest.raises(ValueError, match=r"the hidden state of token 3 in row 0 is not finite: the model has overflowed; run it in bfloat16"), \
            mm.steer(model, reweight=[VAR((5,), first_layer=0)]):
        model(**inputs)


def test_keys_that_overflow_half_precision() -> None:
    model, inputs = llava()
    rule = DARA(images=1, heads=4)
    assert rule.factor is not None
    rule.factor.data.fill_(1e6)
    inputs["pixel_values"] = inputs["pixel_values"].half()
    with pytest.raises(OverflowError, match=r"under DARA\(images=1\) a key reaches \d+, which float16 cannot hold; run the model in bfloat16"), \
            mm.steer(model.half(), reweight=[rule]):
        model(**inputs)


# --- names in a lever's file


@pytest.mark.parametrize(("text", "said"), [
    ("mask: mm.masks.ImageBlok", "there is no mm.masks.ImageBlok; did you mean mm.masks.ImageBlock?"),
    ("positions: mm.position.Concentric", "there is no mm.position.Concentric; did you mean mm.positions.Concentric?"),
    ("reweight: [{class_path: mm.reweight.VAR, init_args: {sink_kep: 0.4}}]", "did you mean sink_keep?"),
    ("reweight: [mm.reweight.ZeroTuning]", "mm.reweight.ZeroTuning does not take these arguments: missing a required argument: 'gamma'"),
    ("model: {reweigth: [mm.reweight.PAI]}", "has reweigth; did you mean reweight?"),
    ("keep: {class_path: mm.keep.VMTC, init_args: {kept: 0, merged: 1}}", "VMTC: kept and rounds are at least 1"),
    ("layout: mm.masks.Causal", "Causal is no Layout; give one of Branches, Dialogue"),
    ("reweight: [{class_path: mm.reweight.PAI, init_args: {first_layer: 7}}]", "PAI: first_layer is 7, and the model has layers 0 to 1")])
def test_unknown_names_and_values_in_a_lever_file_are_one_line(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy().save(tmp_path / "model")
    (tmp_path / "lever.yaml").write_text(text)
    assert main(["pope", "--model", str(tmp_path), "--limit", "1", "--pope.size", "3", "--lever", str(tmp_path / "lever.yaml")]) == 2
    printed = capsys.readouterr().err.strip()
    assert said in printed
    assert "\n" not in printed


def test_a_part_of_a_vision_language_model_is_not_taken_for_a_text_model() -> None:
    toy = FAMILIES["llava"]
    model, inputs = toy.model(), toy.inputs(["sIqq"])
    with torch.no_grad(), mm.steer(model, mask=ModalityMutual()), pytest.raises(ValueError, match="call the whole model"):
        model.model(**inputs)
