"""A batch of prompts to one model, and the changed prompts that contrast decoding sets against it."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from mm.attention import Recorder
from mm.models.continuation import Continuation
from mm.reweight import Rule
from mm.tokens import TokenMap

Pixels = Callable[[Tensor], Tensor]  # one picture as the encoder takes it, normalised, float → the same shape
Picture = Callable[[np.ndarray, int], np.ndarray]  # frames uint8 [T, H, W, 3] of an image or clip, and which of its prompt's it is, from 0 → frames
Wording = Callable[[str], str]


class Prompt(ABC):
    """What decoding needs of B prompts. Every change gives another prompt and leaves this one as it is.

    stop_ids: tokens that end an answer.
    """

    stop_ids: Sequence[int]

    @abstractmethod
    def __len__(self) -> int:
        """B."""

    @property
    @abstractmethod
    def shares(self) -> bool:
        """Whether prompts about one picture would be read behind one copy of it, under the levers that the model has now."""

    @property
    @abstractmethod
    def layers(self) -> int:
        """Of the decoder."""

    @abstractmethod
    def recording(self, recorder: Recorder) -> "Prompt":
        """The same prompts; while their continuations read, `recorder` watches."""

    @abstractmethod
    def continuation(self) -> Continuation:
        """These prompts, not yet begun, under the levers that the model has now."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer."""

    @abstractmethod
    def encode(self, answer: str) -> list[int]:
        """An answer as tokens, the token that ends it included."""

    @abstractmethod
    def watched(self, recorder: Recorder) -> TokenMap:
        """Reads these prompts once, under their levers, while `recorder` watches their attention. What was read, [B, N], padded on the left."""

    @abstractmethod
    def noised(self, change: Pixels) -> "Prompt":
        """With other pixels, as normalised for the encoder."""

    @abstractmethod
    def without_media(self) -> "Prompt":
        """Without images and clips: their tokens are gone, and the text behind them moves up."""

    @abstractmethod
    def steered(self, rules: Sequence[Rule]) -> "Prompt":
        """Under these rules, in place of those that the model has."""

    @abstractmethod
    def reworded(self, change: Wording) -> "Prompt":
        """With another last question; placeholders keep their places in front of it. TypeError where the prompts are known as tokens only."""

    @abstractmethod
    def pictured(self, change: Sequence[Picture]) -> "Prompt":
        """With other pictures, a change for each prompt. TypeError where pictures are known as pixels of the encoder only."""
