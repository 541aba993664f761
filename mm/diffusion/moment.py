"""When: a step of the sampler, and windows of steps."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """step: 0 is the noisiest. steps: of the whole run, those that image-to-image runs skip at its start included."""

    step: int
    steps: int


@dataclass(frozen=True)
class Window:
    """Share of the run during which something acts, from `start` to `stop` in [0, 1]; whole numbers are shares too."""

    start: float = 0.0
    stop: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.start <= self.stop <= 1.0:
            raise ValueError(f"a window runs from a share of the steps to a later one, both in [0, 1]; got {self.start} to {self.stop}")

    def holds(self, moment: Moment, of: int | None = None) -> bool:
        """Whether it acts now: int(start x of) <= step < int(stop x of). of: `moment.steps` by default; Prompt-to-Prompt's words count one more."""
        count = moment.steps if of is None else of
        return int(self.start * count) <= moment.step < int(self.stop * count)
