"""Masses of groups of keys are sums of the attention weights that an eager model would have, before and after what rules do to them."""
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import mm
from mm.analysis import Direct, Masses, looks, masses
from mm.analysis.masses import group_masses
from mm.attention import Call
from mm.masks import ImageBlock, PositionCausal
from mm.positions import Concentric
from mm.reweight import ACT, CMAI, DARA, PAI, VAR, Rule, ZeroTuning
from mm.tokens import TokenMap
from tests.allocation import Largest
from tests.dense import Dense, by_hand, causal, var
from tests.families import IMAGE
from tests.generation import CHANNELS, SINKS, THRESHOLD, family
from tests.vlms import about, toy

NAMES = ["llava", "qwen2_5_vl", "smolvlm", "gemma3"]
WATCH = VAR(CHANNELS, threshold=THRESHOLD)


def eager(model: PreTrainedModel, inputs: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights [B, H, N, N] and entering hidden states [B, N, C] of each layer."""
    kind = next(key for key in model.config.sub_configs if getattr(model.config, key) is model.config.get_text_config())
    model.set_attn_implementation({kind: "eager"})
    with torch.no_grad():
        out = model(**inputs, output_attentions=True, output_hidden_states=True, use_cache=False)
    model.set_attn_implementation({kind: "sdpa"})
    return list(out.attentions), list(out.hidden_states[:-1])


def grouped(hidden: Tensor, image: Tensor, real: Tensor) -> Tensor:
    """One-hot [B, N, 4]: text, text sink, visual sink, visual rest."""
    hidden = hidden.double()
    sink = (hidden[..., list(CHANNELS)].abs().amax(-1) / (hidden.pow(2).mean(-1) + 1e-6).sqrt() > THRESHOLD) & real
    return torch.stack([~image & ~sink, ~image & sink, image & sink, image & ~sink], -1).double()


@pytest.mark.parametrize("name", NAMES)
def test_masses_are_sums_of_eager_weights_in_every_layer(name: str) -> None:
    toy_family = family(name)
    model, inputs = toy_family.model(), toy_family.inputs(["ssIqqq", "sIqq"])
    weights, hidden = eager(model, inputs)
    image, real = inputs["input_ids"] == IMAGE, inputs["attention_mask"].bool()
    rows = torch.tensor([-3, -1]) + image.shape[1]
    recorder = Masses(WATCH, rows=rows)
    with torch.no_grad(), mm.steer(model, recorder=recorder):
        model(**inputs)
    table = recorder.table()
    assert table.shape == (2, 3, 2, 4, 2, 4)
    torch.testing.assert_close(table.sum(-1), torch.ones(table.shape[:-1]), rtol=0, atol=1e-5)
    assert torch.equal(table[0], table[1])
    for layer, (weight, state) in enumerate(zip(weights, hidden, strict=True)):
        wanted = weight[:, :, rows].double() @ grouped(state, image, real).unsqueeze(1)
        torch.testing.assert_close(table[0, layer], wanted.float(), rtol=0, atol=1e-5)
    assert float(table[0, ..., 2].max()) > 0.01, "there are visual sinks to tell"


class Watching(Dense):
    """Keeps the weights [H, N, N] of each layer, before and after the change."""

    def __init__(self, visible: Tensor, change: Any) -> None:
        self.before, self.after = {}, {}

        def kept(layer: int, weights: Tensor) -> Tensor:
            self.before[layer], self.after[layer] = weights, change(layer, weights)
            return self.after[layer]

        super().__init__(visible, kept)


def test_masses_before_and_after_var_are_those_of_var_by_hand() -> None:
    model, inputs = family("llava").model(), family("llava").inputs(["ssIqqq"])
    image, n = inputs["input_ids"][0] == IMAGE, inputs["input_ids"].shape[1]
    _, hidden = eager(model, inputs)  # layers 0 to 2 are plain up to where layer 2 attends
    groups = grouped(hidden[2], image[None], torch.ones(1, n, dtype=torch.bool))[0]
    sinks = {2: groups[:, 1:3].sum(-1).bool()}
    dense = Watching(causal(n), var(sinks, image, n, 0.4, 0.95, 0.02))
    with torch.no_grad(), by_hand(model, dense):
        model(**inputs, use_cache=False)
    recorder = Masses(WATCH)
    with torch.no_grad(), mm.steer(model, reweight=[SINKS], recorder=recorder):
        model(**inputs)
    before, after = recorder.table()[:, 2, 0, :, 0]
    torch.testing.assert_close(before, (dense.before[2][:, -1].double() @ groups).float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(after, (dense.after[2][:, -1].double() @ groups).float(), rtol=0, atol=1e-5)
    moved = (after - before)[:, 3]
    assert float(moved.min()) >= 0
    assert float(moved.max()) > 0.01
    torch.testing.assert_close(after.sum(-1), torch.ones(4))


def test_generation_keeps_one_row_a_step_and_the_prompt_s_groups() -> None:
    model, inputs = family("llava").model(), family("llava").inputs(["ssIqqq", "sIqq"])
    recorder, again = Masses(WATCH), Masses(WATCH)
    with mm.steer(model, reweight=[SINKS], recorder=recorder):
        ids = model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    whole = {**inputs, "input_ids": ids[:, :-1], "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (0, 3), value=1)}
    labels = ids[:, :-1].masked_fill(torch.arange(ids.shape[1] - 1) < inputs["input_ids"].shape[1], -100)
    again.rows = torch.arange(inputs["input_ids"].shape[1] - 1, ids.shape[1] - 1)
    with torch.no_grad(), mm.steer(model, reweight=[SINKS], recorder=again):
        model(**whole, labels=labels)
    stepwise = torch.cat([recorder.table(step) for step in range(len(recorder.steps))], -2)
    torch.testing.assert_close(stepwise, again.table(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rule", [PAI(0.5, 0), ZeroTuning(3.0), ACT(0.1, 0.05, first_layer=0, last_layer=-1), CMAI(0.5, first_layer=0),
                                  DARA(images=1, heads=4)], ids=repr)
def test_rows_sum_to_one_whatever_rule_acts_and_something_moves(rule: Rule) -> None:
    if isinstance(rule, DARA):
        torch.nn.init.constant_(rule.factor, 3.0)
    model, inputs = family("llava").model(), family("llava").inputs(["ssIqqq", "sIqq"])
    recorder = Masses(WATCH)
    with torch.no_grad(), mm.steer(model, reweight=[rule], recorder=recorder):
        model(**inputs)
    before, after = recorder.table()
    torch.testing.assert_close(after.sum(-1), torch.ones(after.shape[:-1]), rtol=0, atol=1e-5)
    assert float((after - before).abs().max()) > 1e-3


def test_groups_that_differ_between_heads_are_watched_too() -> None:
    model, inputs = family("llava").model(), family("llava").inputs(["ssIqqq"])
    act = ACT(0.0, threshold=0.05, first_layer=0, last_layer=-1)
    recorder = Masses(act)
    with torch.no_grad(), mm.steer(model, reweight=[act], recorder=recorder):
        model(**inputs)
    before, after = recorder.table()
    assert float(before[..., 1].max()) > 0.05
    assert float(after[..., 1].max()) < 1e-6, "sinks that keep nothing hold nothing"


def test_the_recorder_changes_nothing_that_the_model_says() -> None:
    model, inputs = family("llava").model(), family("llava").inputs(["ssIqqq"])
    with torch.no_grad():
        with mm.steer(model, reweight=[SINKS]):
            wanted = model(**inputs).logits
        with mm.steer(model, reweight=[SINKS], recorder=Masses(WATCH)):
            assert torch.equal(model(**inputs).logits, wanted)


def test_recorded_rows_cost_rows_and_not_the_square() -> None:
    n = 1024
    q, k = torch.randn(1, 2, n, 8), torch.randn(1, 2, n, 8)
    tokens = TokenMap.text(torch.ones(1, n))
    call = Call(q, k, k, None, True, None, tokens, 0)
    groups = torch.arange(n)[None] % 4
    with Largest() as seen:
        group_masses(call, [], WATCH, groups, torch.tensor([[3, n - 1]]))
    assert 0 < seen.bytes <= 64 * n, "a group a key, as long integers"


# --- a model assembled from parts


@pytest.mark.parametrize("levers", [{}, {"mask": ImageBlock()}, {"mask": PositionCausal(), "positions": Concentric()}], ids=repr)
def test_masses_of_a_vlm_are_sums_of_dense_weights(levers: dict[str, Any]) -> None:
    vlm, sample = toy(**levers), about(1)
    batch = vlm.processor.collate([vlm.processor.prompt(sample)])
    positions = vlm.positions.assign(batch.tokens)
    mask = torch.where(vlm.mask.dense(batch.tokens.at(positions)), 0.0, torch.finfo(torch.float32).min)
    vlm.language.model.set_attn_implementation("eager")
    with torch.no_grad():
        out = vlm.language.model(inputs_embeds=vlm.embed(batch), attention_mask=mask, position_ids=positions, output_attentions=True,
                                 output_hidden_states=True, use_cache=False)
    vlm.language.model.set_attn_implementation("mm")
    (found,) = masses(vlm, [sample], WATCH)
    for layer, (weight, state) in enumerate(zip(out.attentions, out.hidden_states[:-1], strict=True)):
        wanted = weight[:, :, -1].double() @ grouped(state, batch.tokens.is_vision, batch.tokens.is_real)
        torch.testing.assert_close(found[0, layer, :, 0], wanted[0].float(), rtol=0, atol=1e-5)
    (first, *_), = looks(vlm, [sample], Direct())
    assert first.mass == pytest.approx(float(found[0, ..., 0, 2:].sum(-1).mean()), abs=1e-5)


def test_a_sample_s_masses_are_the_same_beside_others_under_the_model_s_own_rules() -> None:
    few = VAR((0, 1, 2), max_sink_share=0.95, min_image_mass=0.02, threshold=1.4, first_layer=1)  # some image tokens are sinks, some are not
    vlm = toy(reweight=[few])
    short, long = about(1), about(2, ("is there a star ?", "yes there is a red star ."))
    together = masses(vlm, [short, long], few)
    for beside, sample in zip(together, (short, long), strict=True):
        torch.testing.assert_close(beside, masses(vlm, [sample], few)[0], rtol=0, atol=1e-5)
    assert not torch.equal(together[1][0], together[1][1])


@pytest.mark.parametrize("rule", [VAR((0, 1, 2), max_sink_share=0.95, min_image_mass=0.02, threshold=1.4, first_layer=1), ZeroTuning(gamma=3.0),
                                  PAI(alpha=0.9, first_layer=0)], ids=repr)
def test_under_a_rule_an_answer_looks_where_the_rule_lets_it(rule: Rule) -> None:
    vlm, sample = toy(), about(2, ("is there a star ?", "yes there is a red star ."))
    plain = looks(vlm, [sample], Direct())[0]
    with mm.steer(vlm, reweight=[rule]):
        found, (masses_of,) = looks(vlm, [sample], Direct())[0], masses(vlm, [sample], WATCH)
    after = masses_of[1, ..., 2:].sum(-1).mean((0, 1))
    assert [look.mass for look in found] == pytest.approx(after.tolist(), abs=1e-5)
    assert max(abs(one.mass - other.mass) for one, other in zip(plain, found, strict=True)) > 1e-3


def test_nothing_recorded_is_said() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        Masses(WATCH).table()
