"""gCOG's cross-attention models against the original code."""
import pytest
import torch
from torch import Tensor

from mm.models.gcog import LatentCrossAttention, Perceiver, SimpleCrossAttention
from mm.models.gcog.base import RuleAndStimulus
from tests.golden import close, load, weights

NAMES = {
    "rule_transformer": "rule", "stim_transformer": "stimulus", "w_embed": "embed", "selfattention": "attention", "layernorm0": "norm1",
    "layernorm1": "norm2", "crossattention": "cross", "layernorm_mlp": "norm2", "rule_crossattention": "cross_rule", "w_out": "head",
    "stim_crossattention": "cross_stimulus", "latent_selfattention": "among", "rule_ffn": "mlp_rule", "stim_ffn": "mlp_stimulus", "latent_ffn": "mlp",
    "layernorm_rulecrossattn": "norm_rule", "layernorm_stimcrossattn": "norm_stimulus", "out_proj": "out"}
OWN = {"simple": {"layernorm_crossattn": "norm1"}, "latent": {"layernorm_crossattn": "norm"}, "perceiver": {"layernorm_latent": "norm"}}
UNUSED = {"latent": "layernorm_latent."}  # the original has it and does not call it
MODELS: dict[str, type[RuleAndStimulus]] = {"simple": SimpleCrossAttention, "latent": LatentCrossAttention, "perceiver": Perceiver}


def renamed(stored: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    found = {}
    for name, value in stored.items():
        if name.endswith("pe.pe") or (case in UNUSED and name.startswith(UNUSED[case])):
            continue
        ours = ".".join({**NAMES, **OWN[case]}.get(part, part) for part in name.split("."))
        ours = ours.replace("head.0", "head")
        if "in_proj_" in ours:
            home, kind = ours.split("in_proj_")
            width = len(value) // 3
            found |= {f"{home}q.{kind}": value[:width], f"{home}kv.{kind}": value[width:]}
        else:
            found[ours] = value
    return found


@pytest.mark.parametrize("case", MODELS)
def test_gcog_models_equal_the_originals(case: str) -> None:
    golden = load("projectors", f"gcog_{case}")
    stored = weights(golden)
    model = MODELS[case](rule_inputs=6, stimulus_inputs=4, longest_rule=7, longest_stimulus=10, width=8, heads=2, answers=11)
    model.load_state_dict(renamed(stored, case))
    rule, stimulus = golden.rule, golden.stim.squeeze(-1)
    with torch.no_grad():
        close(model(rule, stimulus), golden.logp)
        close(model.rule.positions, stored["rule_transformer.pe.pe"][0])
        encoded = model.rule(rule), model.stimulus(stimulus)
        close(model.read(*encoded) if isinstance(model, SimpleCrossAttention) else model.state(*encoded), golden.hidden)
