"""Blending by a given mask: local blend of Hertz et al., "Prompt-to-Prompt …", ICLR 2023, with the user's mask in place of words' maps (ours)."""
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mm.diffusion.blend import blended, latent_size
from mm.diffusion.edit import LatentEdit
from mm.diffusion.gates import Bounds, window
from mm.diffusion.prompt import Prompt

if TYPE_CHECKING:
    from mm.diffusion.control import Control


class MaskedBlend(LatentEdit):
    """Outside of the mask pictures stay the source's, after every step in the window.

    mask: where to edit, [h, w] for all targets or [targets, h, w], non-zero is inside, of any size and the shape of the picture; or a picture file,
    its lighter half. A pixel of the latents of which any part is inside is inside. steps: share of the run, or its start and stop.
    """

    def __init__(self, mask: Tensor | str | Path, steps: Bounds = 1.0) -> None:
        self.mask = mask
        self.steps = steps
        self.window = window(steps)
        self.inside = _read(Path(mask)) if isinstance(mask, str | Path) else mask != 0
        if self.inside.dim() not in (2, 3) or not self.inside.any():
            raise ValueError(f"a mask is [h, w] or [targets, h, w] with something inside; got {tuple(self.inside.shape)}, "
                             f"{int(self.inside.sum())} pixels inside")

    def check(self, prompts: Sequence[Prompt]) -> None:
        if self.inside.dim() == 3 and len(self.inside) != len(prompts) - 1:
            raise ValueError(f"{len(self.inside)} masks and {len(prompts) - 1} target prompts; give one mask for all, or a mask a target")

    def after_step(self, latents: Tensor, control: "Control") -> Tensor:
        if not self.window.holds(control.moment):
            return latents
        targets = len(control.prompts) - 1
        size = latent_size(latents, (self.inside.shape[-2], self.inside.shape[-1]))
        inside = F.adaptive_max_pool2d(self.inside.float().reshape(-1, 1, *self.inside.shape[-2:]), size) > 0
        return blended(latents, torch.cat([inside[:1], inside.expand(targets, -1, -1, -1)]))


def _read(path: Path) -> Tensor:
    """A picture file's lighter half. ValueError that names a file which is none."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return torch.from_numpy(np.array(picture.convert("L")) > 127)
    except OSError as error:
        raise ValueError(f"cannot read the mask {path}: {error}; give a picture file") from error
