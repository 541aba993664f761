"""When OPERA goes back: beams that keep trusting the same token of their answers try another one behind it."""
from collections import Counter
from dataclasses import dataclass

from torch import Tensor

from mm.decoding.beams import Ended
from mm.decoding.overtrust import SHORT, most_frequent

Said = tuple[int, int]  # beam, and the token that it went on with


@dataclass(frozen=True, eq=False)
class Moment:
    """Beams of one sample before a step: ids [W, T], scores [W]; what they went on with."""

    ids: Tensor
    scores: Tensor
    ended: list[Ended]
    chosen: tuple[Said, ...]


class Retrospection:
    """What one sample remembers of its search.

    Args:
        beams: of the search. repeats: how often a token may be the most trusted one. window: how far back the search may go.
        tries: how often it may go back to one place.

    moments: of the steps so far. columns: [step][beam], the most trusted token of the answer. rejected: what was tried at a step and led back to it.
    """

    def __init__(self, beams: int, repeats: int, window: int, tries: int) -> None:
        self.beams, self.repeats, self.window, self.tries = beams, repeats, window, tries
        self.moments: list[Moment] = []
        self.columns: list[list[int]] = []
        self.rejected: dict[int, set[Said]] = {}
        self.times: Counter[int] = Counter()

    def back_to(self, columns: list[list[int]]) -> int | None:
        """The step to take anew, None for none. columns: [beam][candidate], the most trusted token of each look ahead."""
        found = [most_frequent(each) for each in columns]
        self.columns.append(found * (self.beams // len(found)))
        now = most_frequent(self.columns[-1])
        for beam in range(self.beams):
            if sum(step[beam] == now for step in self.columns) <= self.repeats:
                return None
        step = now + 1
        if now < SHORT or step >= len(self.moments):
            return None
        if self.times[step] >= self.tries:
            step -= 1
            if self.times[step] >= self.tries:
                return None
        self.times[step] += 1
        return max(step, len(self.columns) - self.window - 1, 1)

    def forget(self, step: int) -> Moment:
        """Takes everything from `step` on back, and rejects what was chosen there. The moment before it."""
        moment = self.moments[step]
        self.rejected = {place: said for place, said in self.rejected.items() if place <= step}
        self.rejected.setdefault(step, set()).update(moment.chosen)
        del self.moments[step:], self.columns[step + 1:]
        return moment
