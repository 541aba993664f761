"""When each word's column is edited: `cross_replace_steps` of Hertz et al., "Prompt-to-Prompt", ICLR 2023."""
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mm.diffusion.moment import Moment, Window
from mm.diffusion.prompt import Prompt
from mm.diffusion.words import keys_if_any, word_keys

Bounds = float | tuple[float, float]
Steps = Bounds | Mapping[str, Bounds]
DEFAULT = "default_"


class WordGates:
    """steps: the share of the run that the edit lasts, or its start and stop; or these for single words and, as "default_", for all other columns
    (without it: always). As in the original, bounds count one step more than the run has: .8 of 10 steps are int(.8 x 11) = 8.
    """

    def __init__(self, steps: Steps) -> None:
        given = dict(steps) if isinstance(steps, Mapping) else {DEFAULT: steps}
        self.default = window(given.pop(DEFAULT, 1.0))
        self.words = {word: window(bounds) for word, bounds in given.items()}

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        """[K] of 0 and 1. Words that this prompt does not have are passed over; `check` finds those that none has."""
        gate = torch.full((target.keys,), float(self.default.holds(moment, moment.steps + 1)))
        for word, of_word in self.words.items():
            gate[list(keys_if_any(target, word))] = float(of_word.holds(moment, moment.steps + 1))
        return gate

    def check(self, targets: Sequence[Prompt]) -> None:
        """ValueError for a word that none of the targets has."""
        for word in self.words:
            if not any(keys_if_any(target, word) for target in targets):
                word_keys(targets[0], word)


def window(bounds: Window | Bounds) -> Window:
    """From 0 to a single bound; whole numbers are shares too, so that 1 is the whole run."""
    if isinstance(bounds, Window):
        return bounds
    ends = (0.0, bounds) if isinstance(bounds, int | float) else tuple(bounds)
    if len(ends) != 2:
        raise ValueError(f"a window is the share of the run that it lasts, or its start and stop; got {list(ends)}")
    return Window(float(ends[0]), float(ends[1]))
