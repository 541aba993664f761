"""From samples to batches of captioned pictures with a reference picture each."""
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from mm.sample import BadSample, Sample
from mm.training.pictures import CaptionedPictures, PictureBatch
from mm.vision.resize import Resize, Squash


@dataclass(frozen=True, eq=False)
class ReferencedBatch(PictureBatch):
    """references: uint8 [B, 3, r, r]. unseen: bool [B], references that are left out."""

    references: Tensor
    unseen: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ReferencedBatch":
        moved = super().to(device, non_blocking)
        assert isinstance(moved, ReferencedBatch)
        return replace(moved, references=self.references.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "ReferencedBatch":
        pinned = super().pin_memory()
        assert isinstance(pinned, ReferencedBatch)
        return replace(pinned, references=self.references.pin_memory())


class ReferencedPictures:
    """The last picture of a sample with its caption is drawn, the first is its reference; of a sample with one picture it is both.

    side, caption_dropout, resize: as in `CaptionedPictures`. reference: side of references, in px; both sides are stretched to it. picture_dropout:
    share of references that are left out, a tenth in RealCustom++ (Mao et al., 2024). Raises BadSample for more than two pictures.
    """

    def __init__(self, side: int, reference: int, caption_dropout: float = 0.1, picture_dropout: float = 0.1, resize: Resize | None = None) -> None:
        self.pictures = CaptionedPictures(side, caption_dropout, resize)
        self.reference, self.picture_dropout = reference, picture_dropout
        if not 0 <= picture_dropout <= 1:
            raise ValueError(f"picture_dropout {picture_dropout}; expected a share between 0 and 1.")

    def encode(self, sample: Sample) -> ReferencedBatch:
        if len(sample.media) > 2:
            raise BadSample(sample.id, f"found {len(sample.media)} pictures, expected a reference and the picture to draw, or one that is both.")
        both = self.pictures.encode(sample)
        last = {field.name: getattr(both, field.name)[-1:] for field in fields(PictureBatch)}
        seen = Squash()(sample.media[0].frames, (self.reference, self.reference))
        return ReferencedBatch(**last, references=seen, unseen=torch.rand(1) < self.picture_dropout)

    def collate(self, rows: Sequence[ReferencedBatch]) -> ReferencedBatch:
        drawn = self.pictures.collate(rows)
        return ReferencedBatch(**{field.name: getattr(drawn, field.name) for field in fields(PictureBatch)},
                               references=torch.cat([row.references for row in rows]), unseen=torch.cat([row.unseen for row in rows]))
