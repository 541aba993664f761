"""The training-free rules that are tried on trained models, as `--lever` files of the evaluation."""
from dataclasses import dataclass


@dataclass(frozen=True)
class RuleFile:
    """file: from the root of the repository. label: for readers."""

    name: str
    label: str
    file: str


FOLDER = "configs/eval/laboratory/"
READS = "image_block"  # the arm whose models read under the rules: the demo's own mask
RULES = tuple(RuleFile(name, label, f"{FOLDER}{name}.yaml") for name, label in (
    ("var", "VAR, τ = 5"), ("var_low", "VAR, τ = 2"), ("act", "ACT"), ("zerotuning_up", "ZeroTuning, γ = 2"),
    ("zerotuning_down", "ZeroTuning, γ = ½"), ("pai", "PAI"), ("cmai", "CMAI")))
NOT_TRIED = {
    "PAINT": "needs the class token of the vision encoder to tell which patches are local and which are summaries; the demo's encoder has none"}
