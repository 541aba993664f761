"""What is judged: whoever makes an edit of a picture of two captions."""
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from mm.diffusion.request import Request

__all__ = ["Edited", "Editor", "Request"]


class Edited(Protocol):
    """source: the picture as the model gives it back; edited; plain: of the target prompt from the same noise, without control: uint8 [H, W, 3].
    mask: bool [H, W], where a local blend let the edit through, None without one. maps: word -> heat map, float32 [h, w]."""

    @property
    def source(self) -> np.ndarray: ...

    @property
    def edited(self) -> np.ndarray: ...

    @property
    def plain(self) -> np.ndarray: ...

    @property
    def mask(self) -> np.ndarray | None: ...

    @property
    def maps(self) -> Mapping[str, np.ndarray]: ...


class Editor(Protocol):
    """One edit for each request. ValueError for a request that cannot be served, such as captions that a recipe cannot align."""

    def __call__(self, requests: Sequence[Request]) -> Sequence[Edited]: ...
