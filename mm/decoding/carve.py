"""CARVE: Ge et al., "Focusing by Contrastive Attention: Enhancing VLMs' Visual Reasoning", 2025.

The question is asked three times. Where its answer looks, as against where an answer to a general instruction looks, is what it is about; the rest of
the picture is blackened and cut off, and the question is asked again.
"""
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mm.attention import Newest
from mm.decoding.base import Stepwise
from mm.decoding.local_view import Counting
from mm.decoding.regions import MostAttended, Regions, box
from mm.decoding.search import decoded
from mm.decoding.watching import Places, Watching
from mm.models.continuation import Continuation
from mm.models.prompt import Prompt

GENERAL = "Write a general description of the image."
BRIEFLY = "Answer the question using a single word or phrase."
MIDDLE = (20, 25, 32)  # layers 20 to 25 of 32
LEVELS = 10_000  # of a map; what is closer is equal, or rounding would decide which part of an even map stays
LARGEST = 16  # how many times the pixels of its picture a cut may have


class CARVE(Stepwise):
    """Of each prompt's only picture. Fusing, mask and box equal recorded numbers of the original's functions.

    Not recorded, so ours: the filter that enlarges the cut (bicubic); a pixel at the threshold counts, and scores that differ by less than 1/10 000
    of the highest are equal; a cut that would have more than 16 times the pixels of its picture is enlarged less.

    Args:
        layers: whose attention counts; by default 20 to 25 of a decoder of 32 layers, as published, and 20/32 to 25/32 of another depth, which is
            ours; negative ones count from the end.
        general: the instruction that is asked for comparison. suffix: follows it, and the question while the two are compared, unless that ends with
            it already; "" for none. The last answer is to the question as it stands in the prompts.
        lam: added to the attention under the general instruction. The released code has 1e-8.
        top: share of the picture's pixels that the mask begins with.
        regions: which connected ones of them stay.
        steps: answer tokens of each of the two first passes, at most; their end counts. The instruction's stops where no question's goes on.
        over: "all" these steps, the later ones weighted higher (1, 2, ...), as many as both answers have; or "first", the end of the prompt only.

    Costs two short answers more. Only the newest token's row is looked at, in these layers. TypeError for prompts whose words and pictures are not
    known; ValueError for a prompt with more than one picture or a clip, of which none is the one that is meant, for one without a picture, and where
    tokens have no place in their picture. Where a picture is read in tiles, its view of the whole counts.
    """

    def __init__(self, layers: Sequence[int] | None = None, general: str = GENERAL, lam: float = 1e-8, top: float = 0.2,
                 regions: Regions | None = None, steps: int = 32, over: Literal["all", "first"] = "all", suffix: str = BRIEFLY) -> None:
        if not 0 < top <= 1:
            raise ValueError(f"top is the share of the pixels that the mask begins with, above 0 and at most 1; got {top}")
        if steps < 1 or lam < 0:
            raise ValueError(f"steps is {steps} and lam is {lam}; there is one step at least, and nothing negative is added to attention")
        self.layers, self.general, self.lam, self.top = layers, general, lam, top
        self.regions, self.steps, self.over, self.suffix = regions or MostAttended(), steps, over, suffix

    def continuation(self, prompt: Prompt) -> Continuation:
        return self.carved(prompt).continuation()

    def carved(self, prompt: Prompt) -> Prompt:
        """The same prompts about what they are about in their pictures."""
        shown = [Counting() for _ in range(len(prompt))]
        prompt.pictured(shown)  # refuses before anything is read
        for row, each in enumerate(shown):
            if each.frames != [1]:
                raise ValueError(f"prompt {row} has {len(each.frames)} images and clips, of {each.frames} frames; CARVE cuts the one picture that a "
                                 "question is about, so give each prompt one image")
        chosen = self.chosen(prompt.layers)
        steps = 1 if self.over == "first" else self.steps
        asked = self._looks(prompt.reworded(self.briefly), chosen, steps)
        general = self._looks(prompt.reworded(lambda question: self.briefly(self.general)), chosen, max(len(looks) for looks, _ in asked))
        maps = [places.spread(fused(mine, other, self.lam)) for (mine, places), (other, _) in zip(asked, general, strict=True)]
        return prompt.pictured([Cut(grid.numpy(), self.top, self.regions) for grid in maps])

    def chosen(self, depth: int) -> list[int]:
        """Layers of a decoder of `depth`. ValueError for one that it does not have."""
        if self.layers is None:
            first, last, of = MIDDLE
            return list(range(first * depth // of, last * depth // of + 1))
        if wrong := [layer for layer in self.layers if not -depth <= layer < depth]:
            raise ValueError(f"CARVE asks for layer {wrong[0]}, and the model has layers 0 to {depth - 1}")
        return sorted({layer % depth for layer in self.layers})

    def briefly(self, question: str) -> str:
        """What is asked while question and instruction are compared."""
        return question if not self.suffix or question.rstrip().endswith(self.suffix) else f"{question} {self.suffix}"

    def _looks(self, prompt: Prompt, layers: Sequence[int], steps: int) -> list[tuple[Tensor, Places]]:
        """Of each prompt, [T, L, n] while its answer of T tokens was decoded, its end among them, and where the n are."""
        recorder = Newest(layers)
        watching = Watching(prompt.recording(recorder).continuation(), recorder)
        said = decoded(watching, prompt.stop_ids, steps)
        return [(torch.stack(looks[:len(answer) + 1]), places) for looks, answer, places in zip(watching.looks, said, watching.places, strict=True)]


def fused(asked: Tensor, general: Tensor, lam: float) -> Tensor:
    """Attention on n places, [T, L, n] each, float64 → [n]: sum over steps t = 1, 2, ... of t times the sum over layers of asked / (general + lam).

    T is that of the shorter one.
    """
    count = min(len(asked), len(general))
    # Where neither of them looks there is nothing to tell, also without lam.
    contrast = torch.where(asked[:count] == 0, 0.0, asked[:count] / (general[:count] + lam)).sum(1)
    return torch.arange(1, count + 1, dtype=contrast.dtype) @ contrast


def enlarged(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map [rows, cols] on a picture, float64 [H, W]: bilinear, every place of the smaller one averaged where it shrinks, as PIL does it."""
    large = Image.fromarray(grid.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(large, dtype=np.float64)


def mask_of(scores: np.ndarray, top: float, regions: Regions) -> np.ndarray:
    """bool [H, W]: the regions that count among the pixels with the share `top` of the highest scores. Scores count in `LEVELS` of the highest."""
    levels = np.rint(scores / max(scores.max(), np.finfo(scores.dtype).tiny) * LEVELS)
    return regions(levels >= np.quantile(levels, 1 - top), scores)


class Cut:
    """A change of a picture: black where the mask is not, cut to the box around it, and enlarged until it covers what the picture covered.

    As it is where the map tells nothing: not a finite number throughout, or no region counts.
    """

    def __init__(self, grid: np.ndarray, top: float, regions: Regions) -> None:
        self.grid, self.top, self.regions = grid, top, regions

    def __call__(self, frames: np.ndarray, medium: int) -> np.ndarray:
        """Frames uint8 [1, H, W, 3]."""
        height, width = frames.shape[1:3]
        scores = enlarged(self.grid, height, width)
        mask = mask_of(scores, self.top, self.regions) if np.isfinite(scores).all() else np.zeros((height, width), dtype=bool)
        if not mask.any():
            return frames
        left, top, right, bottom = box(mask)
        part = (frames[0] * mask[..., None])[top:bottom, left:right]
        rows, cols = part.shape[:2]
        factor = min(max(height / rows, width / cols), (LARGEST * height * width / (rows * cols)) ** 0.5)
        size = max(round(cols * factor), 1), max(round(rows * factor), 1)
        return np.array(Image.fromarray(part).resize(size, Image.Resampling.BICUBIC))[None]
