"""How far two pictures are from each other, all over or outside the edit: MSE, PSNR, and SSIM (Wang et al., "Image Quality Assessment: From Error
Visibility to Structural Similarity", IEEE TIP 2004).

*As published* (the evaluator of PIE-Bench: Ju et al., "PnP Inversion", ICLR 2024): both pictures are multiplied by 1 - mask, and the mean is taken
over all pixels. The blackened part is equal in both, so a larger mask flatters every figure. *Truly masked*: inside the mask both show the source,
and the mean is taken over the pixels outside it; nothing of the edit is counted, and a larger mask flatters nothing. NaN where nothing is outside.

Pictures are uint8 [H, W, 3]; masks are [H, W], true where the edit may be. ValueError for anything else.
"""
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

WINDOW = 11  # pixels of SSIM's Gaussian, sigma 1.5


class Distance(Protocol):
    """A figure of two pictures of one size; NaN or infinite where it is undefined or unbounded."""

    def __call__(self, first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None) -> float: ...


def mse(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean squared error of pixels in [0, 1]; with a mask the true mean outside it."""
    a, b = pair(first, second)
    error = (a - b).square()
    return float(error.mean()) if mask is None else outside(error, mask)


def psnr(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None) -> float:
    """10 log10(1 / MSE), in dB; infinite for equal pictures."""
    error = mse(first, second, mask)
    return float(-10 * np.log10(error)) if error else float("inf")


def ssim(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean structural similarity over windows of 11 x 11 pixels; with a mask over the windows whose middle lies outside it."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = pair(first, second if mask is None else shown(first, second, mask))
    if min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM looks through windows of {WINDOW} x {WINDOW} pixels; got pictures of {a.shape[-2]} x {a.shape[-1]}")
    found = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none", return_full_image=True)
    assert isinstance(found, tuple)
    return float(found[0]) if mask is None else outside(found[1], mask)


def published(distance: Distance, first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """The distance of both pictures multiplied by 1 - mask, over all pixels; NaN where the mask is full (from memory of the evaluator)."""
    keep = ~region(first, mask)
    return distance(first * keep[..., None], second * keep[..., None]) if keep.any() else float("nan")


def pair(first: np.ndarray, second: np.ndarray) -> tuple[Tensor, Tensor]:
    """Both as float32 [1, 3, H, W] in [0, 1]."""
    a, b = tensor(first), tensor(second)
    if a.shape != b.shape:
        raise ValueError(f"two pictures of one size are compared; got {size(first)} and {size(second)} pixels. Resize one of them")
    return a, b


def tensor(picture: np.ndarray) -> Tensor:
    """float32 [1, 3, H, W] in [0, 1]."""
    checked(picture)
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


def checked(picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        odd = " with values that are not finite" if picture.dtype.kind == "f" and not np.isfinite(picture).all() else ""
        raise ValueError(f"a picture is uint8 [H, W, 3]; got {picture.dtype} {list(picture.shape)}{odd}")
    return picture


def size(picture: np.ndarray) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"


def region(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask as bool, of the picture's size."""
    if mask.shape != picture.shape[:2]:
        raise ValueError(f"the mask of a picture of {size(picture)} pixels has that size; got {list(mask.shape)}")
    return mask.astype(bool)


def shown(source: np.ndarray, edited: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The edited picture with the source inside the mask."""
    pair(source, edited)
    return np.where(region(source, mask)[..., None], source, edited)


def outside(values: Tensor, mask: np.ndarray) -> float:
    """Mean of [1, C, H, W] over the pixels outside the mask; NaN if there is none."""
    if tuple(values.shape[-2:]) != mask.shape:
        raise ValueError(f"the mask of a picture of {values.shape[-2]} x {values.shape[-1]} pixels has that size; got {list(mask.shape)}")
    keep = torch.from_numpy(~mask.astype(bool)).to(values.device)
    return float(values[..., keep].mean()) if keep.any() else float("nan")
