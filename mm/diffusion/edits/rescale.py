"""Fader control of words: Hertz et al., "Prompt-to-Prompt Image Editing with Cross-Attention Control", ICLR 2023."""
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from mm.diffusion.columns import Columns
from mm.diffusion.edit import WordEdit
from mm.diffusion.gates import Steps, WordGates
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt
from mm.diffusion.words import Word, as_words, word_keys

Mode = Literal["scale", "bias"]


class Rescale(WordEdit):
    """Words of the target prompt get `values` times their attention, the first word the first value.

    mode "scale" multiplies columns of the map, by any number, and leaves the rest of the row alone: the paper's, whose rows then do not sum to 1.
    "bias" (ours) divides rows by their sum afterwards, so that the words' gain is the other tokens' loss: for positive values, and on the
    prompt's own map it is log(value) added to the words' scores. A tensor of values may be a parameter: gradients reach it. Alone it acts on the
    prompt's own map; the released code, when re-weighting alone, takes the source's: give twice the same prompt and [Replace(), Rescale(...)] for
    that. cross_replace_steps: see `WordGates`.
    """

    def __init__(self, words: Word | Sequence[Word], values: float | Sequence[float] | Tensor, cross_replace_steps: Steps = 0.8,
                 mode: Mode = "scale") -> None:
        self.words = as_words(words)
        self.values: Sequence[float] | Tensor
        if isinstance(values, Tensor):
            self.values = values if values.dim() else values[None]
        else:
            self.values = (values,) if isinstance(values, int | float) else tuple(values)
        self.cross_replace_steps = cross_replace_steps
        self.mode = mode
        self.gates = WordGates(cross_replace_steps)
        if len(self.words) != len(self.values):
            raise ValueError(f"{len(self.words)} words {list(self.words)} and {len(self.values)} values {list(self.values)}; give a value a word")
        if mode == "bias" and not all(value > 0 for value in self.values):
            raise ValueError(f'mode "bias" adds log(value) to scores and needs positive values, got {list(self.values)}; use "scale"')

    def factors(self, target: Prompt) -> Tensor:
        """[K], the value at keys of its word, 1 elsewhere; of two values for one key the later. ValueError for a word that the target has not."""
        factors = torch.ones(target.keys)
        for word, value in zip(self.words, self.values, strict=True):
            here = torch.zeros(target.keys, dtype=torch.bool)
            here[list(word_keys(target, word))] = True
            factors = torch.where(here, torch.as_tensor(value, dtype=factors.dtype, device=factors.device), factors)
        return factors

    def change(self, columns: Columns, source: Prompt, target: Prompt) -> Columns:
        scaled = columns.scaled(self.factors(target))
        return replace(scaled, normalised=True) if self.mode == "bias" else scaled

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        return self.gates.gate(target, moment)

    def check(self, prompts: Sequence[Prompt]) -> None:
        self.gates.check(prompts[1:])
        for target in prompts[1:]:
            self.factors(target)
