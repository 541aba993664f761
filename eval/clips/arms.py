"""What is compared: ways from a clip's frames to the language model, each against a control that differs in nothing else."""
from collections.abc import Collection

from eval.laboratory.arms import Arm

CONFIGS = "configs/laboratory/clips/"


def arm(name: str, label: str, about: str, control: str | None = None) -> Arm:
    return Arm(name, label, about, (f"{CONFIGS}{name}.yaml",), control)


ARMS = (
    arm("ccam_full", "Video-CCAM, full mask", "12 queries see the whole clip: blind to order by construction"),
    arm("ccam_causal", "Video-CCAM, causal mask", "12 queries, each sees the clip up to its own time", "ccam_full"),
    arm("ccam_time", "full mask and time", "the whole clip, each frame told when it comes", "ccam_full"),
    arm("pooled", "pooled", "1 token a frame, the mean of its 16 features"),
    arm("crosslmm", "CrossLMM", "1 token a frame, and cross-attention to all 16 features behind each layer", "pooled"),
    arm("all", "all tokens", "16 tokens a frame", "pooled"))


def with_controls(names: Collection[str]) -> tuple[Arm, ...]:
    """The arms named and what they are compared with, in the usual order."""
    wanted = {*names, *(each.control for each in ARMS if each.name in names)}
    return tuple(each for each in ARMS if each.name in wanted)
