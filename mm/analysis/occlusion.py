"""Which places of a picture decide a token: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.

Attention says where a token looked; a place may be read and not matter, or matter through neighbours that have gathered it. Here each place is hidden
in turn and the token predicted again, which needs nothing but the model's answer.
"""
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mm.analysis.answer import last_answer
from mm.models import VLM, Batch
from mm.models.modes import evaluating
from mm.sample import Sample

BATCH = 32


@torch.no_grad()
def occlusion(vlm: VLM, sample: Sample, token: int = 0, places: tuple[int, int] = (8, 8)) -> np.ndarray:
    """How much less likely token `token` of the last answer gets when a place is hidden, float32 [rows, cols] in log-odds; < 0 where hiding helps.

    The sample has one image. A place is covered softly, with the picture's median colour, twice as wide as its cell. Costs rows * cols + 1 forward
    passes of one row. ValueError for another number of images, or a token that the answer does not have.
    """
    if len(sample.media) != 1 or len(sample.media[0].frames) != 1:
        raise ValueError(f"occlusion hides places of one image; sample {sample.id!r} has {len(sample.media)} media")
    row = vlm.processor.encode(vlm.layout.alone(sample, len(sample.turns) - 1))
    asked = last_answer(vlm.processor.collate([row]), 0)
    if not 0 <= token < len(asked):
        raise ValueError(f"the answer of sample {sample.id!r} has {len(asked)} tokens, its end included; there is no token {token}")
    at = int(asked[token])
    shown = torch.cat([row.pixels, hidden(row.pixels, places)])
    odds = []
    with evaluating(vlm):
        for part in shown.split(BATCH):
            batch = vlm.processor.collate([replace(row, pixels=picture[None]) for picture in part]).to(vlm.device)
            odds.append(log_odds(vlm, batch, at).cpu())
    whole, *rest = torch.cat(odds).split([1, len(shown) - 1])
    return (whole - rest[0]).view(places).numpy()


def log_odds(vlm: VLM, batch: Batch, at: int) -> Tensor:
    """log p / (1 - p) of the token behind `at`, [B]."""
    logits = vlm.language.head(vlm.hidden(batch)[:, at]).float()
    target = batch.input_ids[:, at + 1, None]
    return (logits.gather(1, target) - logits.scatter(1, target, -torch.inf).logsumexp(1, keepdim=True))[:, 0]


def hidden(picture: Tensor, places: tuple[int, int]) -> Tensor:
    """uint8 [1, 3, H, W] → [rows * cols, 3, H, W], one place covered in each."""
    fill = picture.flatten(2).float().median(-1).values[..., None, None]
    covers = torch.stack(list(windows(tuple(picture.shape[2:]), places)))[:, None]
    return (picture * (1 - covers) + fill * covers).round().to(torch.uint8)


def windows(size: tuple[int, ...], places: tuple[int, int]) -> Iterator[Tensor]:
    """Cover [H, W] in [0, 1] of each place, row by row: full over its cell, fading to nothing a cell further."""
    sides = [[((torch.arange(length) + 0.5 - (i + 0.5) * length / count).abs() * count / length) for i in range(count)]
             for length, count in zip(size, places, strict=True)]
    fade = [[(1.5 - distance).clamp(0, 1) for distance in side] for side in sides]
    for down in fade[0]:
        for across in fade[1]:
            yield down[:, None] * across[None]
