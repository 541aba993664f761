"""Are there sinks at all? How far the largest channel of a token rises above the rest, layer by layer, in trained models.

Rules such as VAR act on tokens whose largest channel is `threshold` times the root mean square. No token of a model can exceed the root of its width.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eval.frame.world import pictures
from mm.language.anatomy import decoder_layers
from mm.models import VLM
from mm.reweight.sinks import relative_size
from mm.sample import Sample, Turn


@dataclass(frozen=True)
class Activation:
    """Of the states that enter a layer: the largest channel over the root mean square, of the first token of the prompt and of the picture's most
    massive token, each the median over prompts and models. ceiling: the root of the width."""

    layer: int
    first: float
    picture: float
    ceiling: float


def activations(runs: Sequence[Path], prompts: int = 32) -> list[Activation]:
    """Over existence questions on the first test pictures."""
    found = [layer for run in runs for layer in _of_model(VLM.load(run), prompts)]
    table = []
    for layer in sorted({layer for layer, *_ in found}):
        first, picture, ceilings = zip(*((first, picture, ceiling) for at, first, picture, ceiling in found if at == layer), strict=True)
        table.append(Activation(layer, float(torch.cat(first).median()), float(torch.cat(picture).median()), ceilings[0]))
    return table


@torch.no_grad()
def _of_model(vlm: VLM, prompts: int) -> list[tuple[int, Tensor, Tensor, float]]:
    asked = [Sample(each.name, each.media(), (Turn("<image>\nis there a star ?"),)) for each in pictures(prompts)]
    batch = vlm.processor.collate([vlm.processor.prompt(sample) for sample in asked])
    entering: list[Tensor] = []

    def keep(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entering.append(args[0] if args else kwargs["hidden_states"])

    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in decoder_layers(vlm.language.model)]  # type: ignore[arg-type]
    try:
        vlm.eval().hidden(batch)
    finally:
        for hook in hooks:
            hook.remove()
    sizes = [relative_size(hidden).amax(-1) for hidden in entering]
    vision = batch.tokens.is_vision
    return [(layer, size[:, 0], size.masked_fill(~vision, 0.0).amax(1), float(entering[0].shape[-1]) ** 0.5) for layer, size in enumerate(sizes)]
