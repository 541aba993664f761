"""Which branches each call of the denoiser has: samplers call it once or several times a step, with or without negative rows."""
import functools
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mm.diffusion.branches import Branches

GUIDED = "do_classifier_free_guidance"


class Calls:
    """given: for each call of a step in turn; one for all; or None to work it out. separate: negative prompts come in a call of their own, after the
    conditional one. pipeline: asked whether it guides, if it can say so; others say it to their own `encode_prompt`, where `heard` listens.
    """

    def __init__(self, given: Branches | Sequence[Branches] | None, prompts: int, separate: bool, pipeline: Any) -> None:
        self.given = None if given is None else (given,) if isinstance(given, Branches) else tuple(given)
        self.prompts, self.separate, self.pipeline = prompts, separate, pipeline
        self.count = 0
        self._told: bool | None = None
        self._first = 0

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While it lasts, a pipeline that does not say whether it guides (PixArt) is listened to. Its own `encode_prompt` is put back."""
        stock = getattr(self.pipeline, "encode_prompt", None)
        if stock is None or hasattr(self.pipeline, GUIDED):
            yield
            return
        signature, before = inspect.signature(stock), self.pipeline.__dict__.get("encode_prompt")
        self._told = None if GUIDED in signature.parameters else False  # no pipeline guides within one batch without such an argument

        @functools.wraps(stock)
        def encode_prompt(*args: Any, **kwargs: Any) -> Any:
            if GUIDED in signature.parameters:
                given = signature.bind(*args, **kwargs)
                given.apply_defaults()
                self._told = bool(given.arguments[GUIDED])
            return stock(*args, **kwargs)

        self.pipeline.encode_prompt = encode_prompt
        try:
            yield
        finally:
            del self.pipeline.encode_prompt
            if before is not None:
                self.pipeline.encode_prompt = before

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
        guided = getattr(self.pipeline, GUIDED, self._told)
        self._first = rows if index == 0 else self._first
        if self.separate or (guided and index and 2 * rows == self._first):  # SD3 asks once more with some layers left out, for no negatives
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
