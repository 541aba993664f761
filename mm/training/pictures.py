"""From samples to batches of captioned pictures, each with everything that chance decides about it."""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mm.sample import PLACEHOLDERS, BadSample, Sample
from mm.vision.resize import CenterCrop, Resize


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """B pictures of as many or fewer samples. ids: of the samples. pixels: uint8 [B, 3, side, side]. captions: "" where the caption was dropped.
    u: uniform in [0, 1), float64 [B], from which the noise level is made. seeds: int64 [B], of the noise."""

    ids: tuple[str, ...]
    pixels: Tensor
    captions: tuple[str, ...]
    u: Tensor
    seeds: Tensor

    @property
    def samples(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PictureBatch":
        return replace(self, pixels=self.pixels.to(device, non_blocking=non_blocking), u=self.u.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "PictureBatch":
        return replace(self, pixels=self.pixels.pin_memory(), u=self.u.pin_memory())

    def noise(self, shape: Sequence[int], stream: int = 0) -> Tensor:
        """Standard normal [B, *shape] on the CPU, of each picture's own seed: the same however the pictures are batched. stream: which of several."""
        draws = [torch.randn(tuple(shape), generator=torch.Generator().manual_seed(int(seed) + stream)) for seed in self.seeds]
        return torch.stack(draws)


class CaptionedPictures:
    """Every picture of a sample with the answer of the turn that shows it; turns without a picture are passed over.

    side: of the square that pictures become, in px. caption_dropout: share of captions that are replaced by none, so that the model learns to draw
    without: Ho & Salimans, "Classifier-Free Diffusion Guidance", NeurIPS workshop 2021.
    Chance is drawn while a sample is read, where the loader has seeded it by its place in the run. Raises BadSample for a clip, for a turn that
    shows several pictures at once, and for a picture without caption.
    """

    def __init__(self, side: int, caption_dropout: float = 0.1, resize: Resize | None = None) -> None:
        self.side, self.caption_dropout, self.resize = side, caption_dropout, resize or CenterCrop()
        if not 0 <= caption_dropout <= 1:
            raise ValueError(f"caption_dropout {caption_dropout}; expected a share between 0 and 1.")

    def encode(self, sample: Sample) -> PictureBatch:
        pairs = captioned(sample)
        pixels = torch.cat([self.resize(sample.media[place].frames, (self.side, self.side)) for place, _ in pairs])
        kept = torch.rand(len(pairs)) >= self.caption_dropout
        captions = tuple(caption if keep else "" for (_, caption), keep in zip(pairs, kept.tolist(), strict=True))
        u, seeds = torch.rand(len(pairs), dtype=torch.float64), torch.randint(2**62, (len(pairs),))
        return PictureBatch((sample.id,), pixels, captions, u, seeds)

    def collate(self, rows: Sequence[PictureBatch]) -> PictureBatch:
        return PictureBatch(
            tuple(id for row in rows for id in row.ids), torch.cat([row.pixels for row in rows]),
            tuple(text for row in rows for text in row.captions),
            torch.cat([row.u for row in rows]), torch.cat([row.seeds for row in rows]))


def captioned(sample: Sample) -> list[tuple[int, str]]:
    """(which of the sample's media, its caption). Raises BadSample."""
    if any(media.kind != "image" for media in sample.media):
        raise BadSample(sample.id, "it holds a clip, and pictures are trained on; leave it out.")
    pairs, place = [], 0
    for turn in sample.turns:
        shown = turn.question.count(PLACEHOLDERS["image"])
        if shown > 1:
            raise BadSample(sample.id, f"one turn shows {shown} pictures, so its answer is no caption of one; give each its own turn.")
        if shown:
            pairs.append((place, turn.answer.strip()))
            place += 1
    if not pairs or not all(caption for _, caption in pairs):
        raise BadSample(sample.id, f"found {len(pairs)} pictures, expected at least one, each with an answer that describes it.")
    return pairs
