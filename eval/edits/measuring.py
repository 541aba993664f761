"""Every figure of one edit, as PIE-Bench reports them, with the encoders that the user has."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eval.edits.scores import plain
from eval.frame.benchmark import Row
from mm.diffusion.metrics import (
    Distance,
    ImageTextEncoder,
    directions_of,
    edited_part,
    embed_images,
    embed_texts,
    mse,
    psnr,
    published,
    scores_of,
    ssim,
)

BACKGROUND = ("psnr", "lpips", "mse", "ssim")
METRICS = ("structure", *BACKGROUND, *(f"{name}_masked" for name in BACKGROUND), "clip", "clip_edited", "clip_direction", "reconstruction_psnr")


@dataclass(frozen=True)
class Measures:
    """clip, structure, lpips: None where the user has no weights; their figures are then left out."""

    clip: ImageTextEncoder | None = None
    structure: Callable[[np.ndarray, np.ndarray], float] | None = None
    lpips: Distance | None = None

    def __call__(self, picture: np.ndarray, source: np.ndarray, edited: np.ndarray, mask: np.ndarray, before: str, after: str) -> Row:
        """picture: the original; source: as the model gives it back; both and the edited one uint8 [H, W, 3] of one size. mask: bool [H, W].

        structure, and of what lies outside the mask psnr, lpips, mse, ssim as published (pictures times 1 - mask, mean over all pixels) and
        `_masked`, truly outside; clip of the picture and of its edited part with the target caption, clip_direction; reconstruction_psnr of `source`
        all over. None where undefined, as outside a full mask; "inf" where unbounded.
        """
        if picture.shape != edited.shape:
            raise ValueError(f"the edited picture is {edited.shape[0]} x {edited.shape[1]} pixels and its original {picture.shape[0]} x "
                             f"{picture.shape[1]}; give --side with the size that the model draws")
        distances: dict[str, Distance] = {"psnr": psnr, "mse": mse, "ssim": ssim} | ({} if self.lpips is None else {"lpips": self.lpips})
        found: Row = {} if self.structure is None else {"structure": self.structure(picture, edited)}
        for name, distance in distances.items():
            found[name] = published(distance, picture, edited, mask)
            found[f"{name}_masked"] = distance(picture, edited, mask) if not mask.all() else float("nan")
        if self.clip is not None:
            old, new, part = embed_images(self.clip, [picture, edited, edited_part(edited, mask)])[:, None]
            said, wanted = embed_texts(self.clip, [before, after])[:, None]
            found["clip"] = scores_of(new, wanted)[0]
            found["clip_edited"] = scores_of(part, wanted)[0] if mask.any() else float("nan")
            found["clip_direction"] = directions_of(old, new, said, wanted)[0]
        found["reconstruction_psnr"] = psnr(picture, source)
        return plain(found)

    def missing(self) -> list[str]:
        """A remark on each part that the user has no weights for."""
        parts = {"clip": self.clip, "structure": self.structure, "lpips": self.lpips}
        return [f"no --{name} was given, so its figures are left out" for name, part in parts.items() if part is None]
