"""What a prompt is about in its pictures, as pictures of their own."""
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mm.attention import Recorder
from mm.models.prompt import Prompt
from mm.tokens import TokenMap

LEVELS = 10_000  # of a map; what is closer is equal, or rounding would decide which part of an even region stays


class LocalView(ABC):
    """Prompts that see but a part of their pictures."""

    @abstractmethod
    def __call__(self, prompt: Prompt) -> Prompt:
        """The prompts with other pictures, e.g. `prompt.pictured(...)` of masks from a detector or a matching model."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Looked(LocalView):
    """The places that the last row of a prompt looks at most stay, all others become black. Ours.

    Args:
        keep: share of each frame that stays.
        layers: whose attention counts, the mean over them and their heads; all by default, negative ones from the end.

    Costs one more reading of the prompts. TypeError for prompts whose pictures are known as pixels of the encoder only; ValueError where a picture's
    tokens have no place in it.
    """

    def __init__(self, keep: float = 0.5, layers: Sequence[int] | None = None) -> None:
        if not 0 < keep <= 1:
            raise ValueError(f"Looked: keep is the share of a frame that stays, above 0 and at most 1; got {keep}")
        self.keep, self.layers = keep, layers

    def __call__(self, prompt: Prompt) -> Prompt:
        shown = [Counting() for _ in range(len(prompt))]
        prompt.pictured(shown)  # refuses before anything is read
        recorder = Recorder()
        tokens = prompt.watched(recorder).to("cpu")
        weights = self.mean(recorder.steps[0])
        looks = [of_media(maps(tokens[b:b + 1], weights[b]), shown[b].frames) for b in range(len(prompt))]
        return prompt.pictured([Masked(each, self.keep) for each in looks])

    def mean(self, weights: dict[int, Tensor]) -> Tensor:
        """[B, N] of weights [B, H, 1, N] by layer. ValueError for a layer that the model does not have."""
        every = sorted(weights)
        if wrong := [layer for layer in self.layers or () if not -len(every) <= layer < len(every)]:
            raise ValueError(f"Looked asks for layer {wrong[0]}, and the model has layers 0 to {len(every) - 1}")
        chosen = every if self.layers is None else sorted({every[layer] for layer in self.layers})
        return torch.stack([weights[layer][:, :, 0].mean(1) for layer in chosen]).mean(0)


class Counting:
    """Changes nothing. frames: of each medium that it was shown."""

    def __init__(self) -> None:
        self.frames: list[int] = []

    def __call__(self, frames: np.ndarray, medium: int) -> np.ndarray:
        self.frames.append(len(frames))
        return frames


class Masked:
    """A change of pictures: all but the share `keep` of each frame, where its map is highest, becomes black. maps: of each medium, [frames, h, w]."""

    def __init__(self, maps: Sequence[Tensor], keep: float) -> None:
        self.maps, self.keep = maps, keep

    def __call__(self, frames: np.ndarray, medium: int) -> np.ndarray:
        """Frames uint8 [T, H, W, 3]. Of a still picture that is read in several tiles, the last map counts: in all families it is of the whole."""
        found = self.maps[medium]
        of_frame = torch.full((1,), len(found) - 1) if len(frames) == 1 else torch.arange(len(frames)) * len(found) // len(frames)
        large = interpolate(found[of_frame, None], frames.shape[1:3], mode="bilinear")[:, 0]
        return frames * kept(large, self.keep).numpy()[..., None]


def kept(maps: Tensor, share: float) -> Tensor:
    """bool [T, H, W]: the highest places of each map, as many as make up `share` of it, at least one; of equal ones the first."""
    flat = maps.flatten(1)
    levels = (flat / flat.amax(1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny) * LEVELS).round()
    count = max(round(share * flat.shape[1]), 1)
    highest = levels.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, highest, True).view_as(maps)


def maps(tokens: TokenMap, weights: Tensor) -> list[Tensor]:
    """What one row gives to the places of its pictures: float32 [frames, rows, cols] for each image and clip. tokens: [1, N]; weights: [N].

    Frames of one medium that differ in size are brought to that of the last one.
    """
    found = []
    for medium in range(int(tokens.media.max()) + 1):
        here = (tokens.media[0] == medium) & (tokens.row[0] >= 0)
        if not bool(here.any()):
            raise ValueError(f"the tokens of image or clip {medium} have no place in it, so there is no telling which part the prompt looks at; give "
                             "AGLA a view of your own (mm.decoding.LocalView)")
        frame, row, col = (table[0, here] for table in (tokens.frame, tokens.row, tokens.col))
        parts = []
        for each in frame.unique().tolist():
            of = frame == each
            place = torch.zeros(int(row[of].max()) + 1, int(col[of].max()) + 1)
            parts.append(place.index_put_((row[of], col[of]), weights[here][of].float(), accumulate=True))
        found.append(torch.stack([interpolate(part[None, None], parts[-1].shape, mode="bilinear")[0, 0] for part in parts]))
    return found


def of_media(found: list[Tensor], frames: Sequence[int]) -> list[Tensor]:
    """Maps of a prompt's images and clips, which have so many frames, where some models read each frame of a clip as an image of its own."""
    if len(found) == len(frames):
        return found
    if len(found) != sum(frames):
        raise ValueError(f"the model reads {len(found)} pictures where the prompt has {len(frames)} images and clips, so it is not known which is of "
                         "which; give AGLA a view of your own (mm.decoding.LocalView)")
    each = iter(found)
    return [torch.stack([next(each)[-1] for _ in range(count)]) for count in frames]
