"""Prompts as the text encoders read them while some of their words are dynamic."""
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from mm.diffusion.dynamic.tokens import DynamicTokens
from mm.diffusion.text import Text, beside


class Wording:
    """encoders: each with its dynamic tokens; all of those that read the prompt. encode: a prompt as the denoiser gets it, one row; it must let
    gradients through. `of_pipe` makes one.
    """

    def __init__(self, encoders: Sequence[tuple[nn.Module, DynamicTokens]], encode: Callable[[str], Text]) -> None:
        self.encoders, self.encode = tuple(encoders), encode

    def text(self, prompt: str) -> Text:
        """The prompt with the rows as they are, [1, L, D]."""
        with ExitStack() as stack:
            for encoder, tokens in self.encoders:
                stack.enter_context(tokens.inserted(encoder))
            return self.encode(prompt)

    @property
    def rows(self) -> list[nn.Parameter]:
        """What is learned: of each encoder [R, d]."""
        return [tokens.rows for _, tokens in self.encoders]

    @torch.no_grad()
    def at(self, rows: Sequence[Tensor], prompts: Sequence[str]) -> Text:
        """The prompts with these rows, [len(prompts), L, D]; rows are left so."""
        for mine, given in zip(self.rows, rows, strict=True):
            mine.copy_(given)
        found = self.text(prompts[0])
        for prompt in prompts[1:]:
            found = beside(found, self.text(prompt))
        return found
