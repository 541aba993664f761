"""Which branches each call of the denoiser has: samplers call it once or several times a step, with or without negative rows."""
from collections.abc import Sequence
from typing import Any

from mm.diffusion.branches import Branches


class Calls:
    """given: for each call of a step in turn; one for all; or None to work it out. separate: negative prompts come in a call of their own, after the
    conditional one. pipeline: asked whether it guides, if it can say so.
    """

    def __init__(self, given: Branches | Sequence[Branches] | None, prompts: int, separate: bool, pipeline: Any) -> None:
        self.given = None if given is None else (given,) if isinstance(given, Branches) else tuple(given)
        self.prompts, self.separate, self.pipeline = prompts, separate, pipeline
        self.count = 0

    def restart(self) -> None:
        """A step begins."""
        self.count = 0

    def next(self, rows: int) -> Branches:
        """Of the call that begins, with so many rows. ValueError that says both sizes if they do not fit."""
        index = self.count
        self.count += 1
        if self.given is None:
            return self._usual(rows, index)
        if index >= len(self.given) > 1:
            raise ValueError(f"branches are given for {len(self.given)} calls of the denoiser in a step, and this is call {index + 1}; "
                             "name those of each call")
        branches = self.given[0 if len(self.given) == 1 else index]
        if len(branches.rows) != rows:
            raise ValueError(f"the denoiser was called with {rows} rows, and `branches` has {len(branches.rows)}: {branches.rows}")
        return branches

    def _usual(self, rows: int, index: int) -> Branches:
        prompts = self.prompts
        if not prompts:
            raise ValueError("without `prompts` nobody knows what the rows are; give `branches`, e.g. Branches.unguided(1)")
        guided = getattr(self.pipeline, "do_classifier_free_guidance", None)
        if self.separate:
            guided = False
        elif guided is None:
            guided = rows != prompts
        images, rest = divmod(rows, prompts * (2 if guided else 1))
        if rest or not images:
            raise ValueError(f"the denoiser was called with {rows} rows, and {prompts} prompts {'with' if guided else 'without'} guidance need a "
                             f"multiple of {prompts * (2 if guided else 1)}; call the pipeline with the same prompts, or give `branches`")
        if guided:
            return Branches.guided(prompts, images)
        return Branches.negative(prompts, images) if self.separate and index % 2 else Branches.unguided(prompts, images)
