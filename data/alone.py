"""One question a row: the turns of a data set's samples as samples of their own."""
import re
from collections.abc import Sized
from dataclasses import replace
from typing import cast

from torch.utils.data import Dataset

from mm.sample import PLACEHOLDERS, Sample

LEAD = re.compile(rf"\s*(?:(?:{'|'.join(map(re.escape, PLACEHOLDERS.values()))})\s*)*")


class Alone(Dataset[Sample]):
    """Each turn of each sample as a dialogue of one turn about the same media.

    For masks under which what a picture becomes depends on the question: it has one to read then, and the one that it will have in use.

    Args:
        samples: any map-style data set whose samples show their media at the head of the first question.
        turns: rows a sample; row `j` of a sample with fewer turns is turn `j` modulo their number.
    """

    def __init__(self, samples: Dataset, turns: int = 9) -> None:
        if turns < 1:
            raise ValueError(f"Alone: turns is the number of rows a sample, at least 1; got {turns}")
        self.samples = samples
        self.turns = turns

    def __len__(self) -> int:
        return self.turns * len(cast(Sized, self.samples))

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index // self.turns]
        place = index % self.turns % len(sample.turns)
        turn = sample.turns[place]
        if place:
            lead = LEAD.match(sample.turns[0].question)
            turn = replace(turn, question=(lead.group() if lead else "") + turn.question)
        return replace(sample, id=f"{sample.id}/{place}", turns=(turn,))
