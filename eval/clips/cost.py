"""What an arm costs: tokens that a clip becomes, parameters, and the processor's time of training."""
from dataclasses import dataclass
from pathlib import Path

from eval.report.run import lines
from mm.models import VLM


@dataclass(frozen=True)
class Cost:
    """tokens: visual ones of a clip in the language model. parameters: of the whole model. samples_per_second: of training, of processor time."""

    tokens: int
    parameters: int
    samples_per_second: float


def cost(run: Path, frames: int) -> Cost:
    """Of a trained arm on clips of so many frames."""
    vlm = VLM.load(run)
    last = [row for row in lines(run / "metrics.jsonl") if "cpu_seconds" in row][-1]
    return Cost(vlm.geometry.places(frames).shape[1], sum(parameter.numel() for parameter in vlm.parameters()), last["samples"] / last["cpu_seconds"])
