"""What learning found, step by step."""
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mm.diffusion.dynamic.wording import Wording
from mm.diffusion.inversion import Trajectory
from mm.diffusion.text import Text


@dataclass(frozen=True)
class Learned:
    """Of T steps. rows: of each text encoder, [T, R, d]. trajectory: to edit along, with the negative texts that belong to the rows. maps
    [T, H, W, K]: where words look at the end of each step's updates. losses [T, 2, n]: of the terms `names`, unweighted, before the first update and
    after the last. updates [T]: made. background [H, W] bool, where it was looked for.
    """

    rows: tuple[Tensor, ...]
    trajectory: Trajectory
    maps: Tensor
    losses: Tensor
    names: tuple[str, ...]
    updates: Tensor
    background: Tensor | None = None

    def texts(self, wording: Wording, prompts: Sequence[str]) -> tuple[Text, ...]:
        """What the denoiser reads of the prompts at each step. Other prompts than the learned one hold its nouns where `wording` was told so."""
        return tuple(wording.at([rows[step] for rows in self.rows], prompts) for step in range(len(self.updates)))
