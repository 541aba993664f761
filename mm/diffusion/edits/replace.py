"""Word swap: Hertz et al., "Prompt-to-Prompt Image Editing with Cross-Attention Control", ICLR 2023."""
from collections.abc import Sequence

from torch import Tensor

from mm.diffusion import legacy as released
from mm.diffusion.align import replace_mapping
from mm.diffusion.columns import Columns, from_source
from mm.diffusion.edit import WordEdit
from mm.diffusion.gates import Steps, WordGates
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt


class Replace(WordEdit):
    """Each word gets the source's map of the word in its place; both prompts have as many words. Columns without a source's keep what they had.

    cross_replace_steps: see `WordGates`. legacy: align as the released code does, for parity with published results only.
    """

    def __init__(self, cross_replace_steps: Steps = 0.8, legacy: bool = False) -> None:
        self.cross_replace_steps = cross_replace_steps
        self.legacy = legacy
        self.gates = WordGates(cross_replace_steps)
        self.mapping = released.replace_mapping if legacy else replace_mapping

    def change(self, columns: Columns, source: Prompt, target: Prompt) -> Columns:
        mapping = self.mapping(source, target)
        return columns.mixed(from_source(mapping), mapping.any(0).float())

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        return self.gates.gate(target, moment)

    def check(self, prompts: Sequence[Prompt]) -> None:
        self.gates.check(prompts[1:])
        for target in prompts[1:]:
            self.mapping(prompts[0], target)
