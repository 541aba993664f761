"""Prompt refinement: Hertz et al., "Prompt-to-Prompt Image Editing with Cross-Attention Control", ICLR 2023."""
from collections.abc import Sequence

from torch import Tensor

from mm.diffusion import legacy as released
from mm.diffusion.align import refine_alignment, selection
from mm.diffusion.columns import Columns, from_source
from mm.diffusion.edit import WordEdit
from mm.diffusion.gates import Steps, WordGates
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt, comparable


class Refine(WordEdit):
    """Tokens that both prompts have get the source's map, new ones keep theirs; rows of the map need not sum to 1, as in the original.

    cross_replace_steps: see `WordGates`. legacy: pads as the released code has them, which matters where the source is the longer prompt.
    """

    def __init__(self, cross_replace_steps: Steps = 0.8, legacy: bool = False) -> None:
        self.cross_replace_steps = cross_replace_steps
        self.legacy = legacy
        self.gates = WordGates(cross_replace_steps)
        self.alignment = released.refine_alignment_of_pads if legacy else refine_alignment

    def change(self, columns: Columns, source: Prompt, target: Prompt) -> Columns:
        mapping, matched = selection(self.alignment(source, target))
        return columns.mixed(from_source(mapping), matched)

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        return self.gates.gate(target, moment)

    def check(self, prompts: Sequence[Prompt]) -> None:
        self.gates.check(prompts[1:])
        comparable(tuple(prompts))
