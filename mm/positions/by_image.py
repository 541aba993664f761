"""Positions that take an image for one thing: text counts on by one, an image spreads its tokens over some positions and text goes on behind them."""
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from mm.positions.base import Positions
from mm.tokens import TokenMap


class Images(NamedTuple):
    """What each vision token belongs to: an image, or a frame of a clip. Tables [B, N], meaningless for other tokens.

    place: how many of its image's tokens stand before it, in sequence order. size: tokens of its image. end: index of its image's last one.
    """

    place: Tensor
    size: Tensor
    end: Tensor

    @staticmethod
    def of(tokens: TokenMap) -> "Images":
        order = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        border = torch.zeros(tokens.shape, dtype=torch.bool, device=tokens.device)  # an image ends behind the token
        border[:, -1:] = True
        for table in (tokens.is_vision, tokens.document, tokens.branch, tokens.media, tokens.frame):
            border[:, :-1] |= table[:, 1:] != table[:, :-1]
        begins = border.roll(1, 1)
        start = torch.where(begins, order, 0).cummax(1).values
        end = torch.where(border, order, tokens.shape[1]).flip(1).cummin(1).values.flip(1)
        return Images(order - start, end - start + 1, end)


class ByImage(Positions):
    """An image's tokens stand at offsets behind the position at which the image begins, and the image takes up as many positions as its span.

    The rule of a row is a scan from left to right, each document from 0: text has the counter's value and advances it by one, an image advances it by
    its span, padding does neither. A branch scans on behind its trunk, so that it reads the ids that it would have alone. Any number of images; each
    frame of a clip is one.
    """

    @abstractmethod
    def spread(self, tokens: TokenMap, images: Images) -> tuple[Tensor | int, Tensor | int]:
        """Offset of each vision token within its image, and the span of that image; each [B, N] or one number."""

    def assign(self, tokens: TokenMap) -> Tensor:
        """[B, N] map → long [B, N]."""
        images = Images.of(tokens)
        offset, span = self.spread(tokens, images)
        # Only an image's last token advances the counter, so that all of its tokens are counted from where it begins.
        last = (images.place + 1 == images.size).long()
        return tokens.before(torch.where(tokens.is_vision, last * span, 1)) + torch.where(tokens.is_vision, offset, 0)

    def in_branches(self) -> "ByImage":
        return self
