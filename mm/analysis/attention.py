"""Where the tokens of an answer looked in the pictures, from one forward pass that keeps the attention weights of a few rows."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mm.analysis.answer import last_answer
from mm.analysis.head_mean import HeadMean
from mm.analysis.reading import Reading, Rollout
from mm.attention import Plan, activated
from mm.models import VLM, Batch
from mm.models.modes import evaluating
from mm.sample import Sample


@dataclass(frozen=True, eq=False)
class Look:
    """Where one answer token looked while it was being predicted.

    token: its text. maps: for each picture or clip of the sample, attention on each place, float32 [frames, rows, cols]; together they sum to `mass`,
    the share of all attention that fell on places of pictures.
    """

    token: str
    maps: tuple[np.ndarray, ...]

    @property
    def mass(self) -> float:
        return float(sum(place.sum() for place in self.maps))


def looks(vlm: VLM, samples: Sequence[Sample], reading: Reading | None = None) -> list[list[Look]]:
    """For each sample, one look per token of its last answer, the end token included.

    The first look is that of the last prompt row, whatever the answer: a sample without an answer has this one alone. The answer is read, not
    decoded, which gives the same rows as decoding it. Under rules that move attention, the weights are those after the rules.
    reading: how heads and layers are combined, `Rollout()` by default.
    Raises ValueError where the model's visual tokens have no place in the picture, or its attention is not mm's.
    """
    if vlm.geometry.grid is None:
        raise ValueError(f"the tokens of {type(vlm.projector).__name__} have no place in the picture, so there is no map of where an answer looked; "
                         "use a projector that keeps the grid, such as mm.streams.MLP")
    reading = reading or Rollout()
    alone = [vlm.layout.alone(sample, len(sample.turns) - 1) for sample in samples]
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in alone])
    asked = [last_answer(batch, b) for b in range(len(samples))]
    rows = [reading.rows(batch.tokens[b:b + 1], asked[b]) for b in range(len(samples))]
    weights = recorded(vlm, batch, rows)
    return [
        [Look(str(vlm.language.tokenizer.decode([int(batch.input_ids[b, row + 1])])).strip(), placed(batch, b, read, vlm.geometry.grid))
         for row, read in zip(asked[b].tolist(), reading.read(weights[:, b, :len(rows[b])], rows[b], asked[b]), strict=True)]
        for b in range(len(samples))]


@torch.no_grad()
def recorded(vlm: VLM, batch: Batch, rows: Sequence[Tensor]) -> Tensor:
    """Weights of the rows `rows[b]` of each sample, averaged over heads, float32 [L, B, R, N]; shorter lists repeat their last row."""
    length = max(map(len, rows))
    index = torch.stack([torch.cat([each, each[-1:].expand(length - len(each))]) for each in rows])
    recorder = HeadMean(rows=index)
    tokens = batch.tokens.at(vlm.positions.assign(batch.tokens)).to(vlm.device)
    with evaluating(vlm), activated(Plan(vlm.mask, tokens, recorder)):
        vlm.hidden(batch.to(vlm.device))
    if not recorder.steps:
        raise ValueError(f"{type(vlm.language.model).__name__} ran without mm's attention, so nothing was recorded; build it through mm.language")
    step = recorder.steps[0]
    return torch.stack([step[layer] for layer in sorted(step)])


def placed(batch: Batch, b: int, weights: Tensor, grid: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Weights [N] of sample `b` on the places of its media, each float32 [frames, rows, cols]; tokens without a place (newlines) are left out."""
    tokens = batch.tokens[b]
    maps = []
    for medium in range(int(tokens.media.max()) + 1):
        here = (tokens.media == medium) & (tokens.row >= 0)
        place = np.zeros((int(tokens.frame[here].max()) + 1, *grid), dtype=np.float32)
        np.add.at(place, (tokens.frame[here].numpy(), tokens.row[here].numpy(), tokens.col[here].numpy()), weights[here].numpy())
        maps.append(place)
    return tuple(maps)
