"""Prompts that read otherwise at every step, for the length of a run under control."""
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mm.diffusion.control import Control
from mm.diffusion.text import Text


@contextmanager
def by_step(running: Control, texts: Sequence[Text] = (), negatives: Sequence[Text] | None = None) -> Iterator[None]:
    """In a run under `mm.control`, each step reads the tokens of its own texts, whatever the pipeline was called with.

    texts: for each step, one prompt a row in the order of the control's prompts; () leaves them. negatives: for each step, one prompt for all
    negative rows (a trajectory's, of null-text inversion); None leaves them. Enter it within the control. What the model reads pooled stays the
    pipeline's. ValueError where a run has another number of steps.
    """
    denoiser = running.denoiser
    signature = inspect.signature(type(denoiser).forward)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        bound = signature.bind(module, *args, **kwargs)
        bound.arguments["encoder_hidden_states"] = _replaced(running, bound.arguments["encoder_hidden_states"], texts, negatives)
        return bound.args[1:], bound.kwargs

    handle = denoiser.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _replaced(running: Control, given: torch.Tensor, texts: Sequence[Text], negatives: Sequence[Text] | None) -> torch.Tensor:
    """given: [rows, L, D]."""
    moment, tokens = running.moment, given.clone()
    for found, what in ((texts, "texts"), (negatives, "negatives")):
        if found and len(found) != moment.steps:
            raise ValueError(f"{len(found)} {what} for a run of {moment.steps} steps; run as many as were learned")
    for index, row in enumerate(running.branches.rows):
        if row.conditional and texts:
            tokens[index] = texts[moment.step].tokens[row.prompt].to(given)
        elif not row.conditional and negatives:
            tokens[index] = negatives[moment.step].tokens[0].to(given)
    return tokens
