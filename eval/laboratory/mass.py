"""How much of the attention of the row that answers falls on the picture, layer by layer."""
from collections.abc import Sequence
from pathlib import Path

import torch

from eval.frame.world import pictures
from mm.attention import Plan, Recorder, activated
from mm.models import VLM
from mm.sample import Sample, Turn

QUESTION = "<image>\nis there a star ?"
PICTURE = 1  # group


@torch.no_grad()
def picture_mass(runs: Sequence[Path], prompts: int = 32) -> list[float]:
    """Share for each layer, the mean over heads, models and existence questions on the first test pictures."""
    found = []
    for run in runs:
        vlm = VLM.load(run).eval()
        rows = [vlm.processor.prompt(Sample(each.name, each.media(), (Turn(QUESTION),))) for each in pictures(prompts)]
        batch = vlm.processor.collate(rows)
        recorder = Recorder(rows=(batch.tokens.is_real.sum(1) - 1)[:, None], groups=batch.tokens.is_vision.long(), group_count=2)
        with activated(Plan(vlm.mask, batch.tokens, recorder)):
            vlm.hidden(batch)
        step = recorder.steps[0]
        found.append(torch.stack([step[layer][..., PICTURE].mean() for layer in sorted(step)]))
    return torch.stack(found).mean(0).tolist()
