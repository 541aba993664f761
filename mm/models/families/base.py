"""What a family of vision-language models tells about its prompts."""
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from mm.models.families.medium import Medium


class PlaceholderError(ValueError):
    """The placeholder tokens of a prompt are not those that its images and clips need."""


class Stream(NamedTuple):
    """The media of one kind ("image", "clip"), in the order of the batch; their tokens stand where the prompt has `placeholder`."""

    kind: str
    placeholder: int
    media: Sequence[Medium]


class Family(ABC):
    """Models whose processors lay out prompts alike."""

    names: str
    """What people call these models, for messages."""

    @abstractmethod
    def matches(self, model: PreTrainedModel) -> bool:
        """Is `model` of this family?"""

    @abstractmethod
    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        """ids: [B, N] on the CPU; inputs: what the family's processor made. PlaceholderError where the two do not go together."""


class Run(NamedTuple):
    """Placeholders that stand side by side: ids[row, start:stop]."""

    row: int
    start: int
    stop: int


def runs(ids: Tensor, placeholder: int) -> list[Run]:
    """Every longest run of `placeholder`, row by row."""
    found = []
    for row, here in enumerate(ids == placeholder):
        edges = pad(here.int(), (1, 1)).diff().nonzero()[:, 0].tolist()  # a run starts and stops in turn
        found += [Run(row, start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
    return found
