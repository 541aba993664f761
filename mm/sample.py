"""The one record that data sets yield and models read: media, and a dialogue about them."""
from dataclasses import dataclass
from typing import Literal

import numpy as np

PLACEHOLDERS = {"image": "<image>", "clip": "<video>"}


@dataclass(frozen=True, eq=False)
class Media:
    """An image (one frame) or a clip. frames: uint8 [T, H, W, 3], RGB, already upright. times: of each frame of a clip, in seconds after the first
    frame of the whole; None where nobody knows. ValueError for another number of times than of frames."""

    frames: np.ndarray
    kind: Literal["image", "clip"] = "image"
    times: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.times is not None and len(self.times) != len(self.frames):
            raise ValueError(f"a {self.kind} of {len(self.frames)} frames comes with {len(self.times)} times; each frame has one")


@dataclass(frozen=True)
class Turn:
    """A question and its answer. The question may hold `<image>` and `<video>` placeholders, in the order of the sample's media.

    weight: factor on the loss of this answer's tokens. task: free label for reports ("existence", "caption", ...).
    """

    question: str
    answer: str = ""
    weight: float = 1.0
    task: str = ""


@dataclass(frozen=True, eq=False)
class Sample:
    """id: unique within its data set; names the sample in every error message."""

    id: str
    media: tuple[Media, ...]
    turns: tuple[Turn, ...]
    system: str = ""


class BadSample(ValueError):
    """A sample that cannot be used, and why. Whoever draws samples decides: stop with this message, or skip and count.

    A data loader rebuilds a worker's exception from its text alone, hence the empty default.
    """

    def __init__(self, id: str, reason: str = "") -> None:
        super().__init__(id, reason)
        self.id, self.reason = id, reason

    def __str__(self) -> str:
        return f"sample {self.id!r}: {self.reason}" if self.reason else self.id
