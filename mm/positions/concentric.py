"""Concentric Causal Attention (CCA): Xing et al., "Mitigating Object Hallucination via Concentric Causal Attention", NeurIPS 2024.

In raster order the upper half of an image is far from the question; in rings around its centre, nothing is.
"""
import torch
from torch import Tensor

from mm.positions.by_image import ByImage, Images
from mm.tokens import TokenMap


class Concentric(ByImage):
    """The tokens of an image share one position per ring, from its border (first) to its centre (last, next to the text).

    An image of H x W tokens takes up ceil(min(H, W) / 2) positions. With `mm.masks.PositionCausal`, which CCA is trained with, an image token reads
    the rings outside its own and all of its own. Needs tokens that have a place in the picture, row by row: ValueError where they have none, or where
    rows x cols is not the number of the image's tokens. Rotary variants that change with the largest position of a row (dynamic NTK, LongRoPE) are
    told the shortened ones, and change later.

    The release serves one square image of even size per row. Several images, frames of clips (each an image of its own), H != W, odd sizes, packing
    and padding are ours, by the same rule. In a batch, the release applies the last sample's ids to all and the mask to the first only; not copied.
    """

    def spread(self, tokens: TokenMap, images: Images) -> tuple[Tensor, Tensor]:
        """Ring of each vision token, 0 at the border, and the number of rings of its image; [B, N]."""
        rows, cols = tokens.row.gather(1, images.end) + 1, tokens.col.gather(1, images.end) + 1
        self._check(tokens, images, rows, cols)
        upright = torch.minimum(tokens.row, rows - 1 - tokens.row)
        sideways = torch.minimum(tokens.col, cols - 1 - tokens.col)
        return torch.minimum(upright, sideways), (torch.minimum(rows, cols) + 1) // 2

    def _check(self, tokens: TokenMap, images: Images, rows: Tensor, cols: Tensor) -> None:
        raster = (rows * cols == images.size) & (tokens.row * cols + tokens.col == images.place) & (tokens.row >= 0) & (tokens.col >= 0)
        if wrong := (tokens.is_vision & ~raster).nonzero().tolist():
            b, n = at = tuple(wrong[0])
            media, frame, document, row, col = (int(table[at]) for table in (tokens.media, tokens.frame, tokens.document, tokens.row, tokens.col))
            size = int(images.size[at])
            found = (f"no place in the picture (row {row}, col {col})" if min(row, col) < 0 else
                     f"{size} tokens, the last of which has no place in the picture (a newline, say)" if int(rows[at] * cols[at]) == 0 else
                     f"{size} tokens that are no raster of {int(rows[at])} x {int(cols[at])} (token {n} is at row {row}, col {col})")
            raise ValueError(f"Concentric: image {media}, frame {frame} of document {document} in row {b} has {found}, so it has no rings; "
                             "use a projector that keeps the grid, such as mm.streams.MLP, or other positions")
