"""CLIP score (Hessel et al., "CLIPScore", EMNLP 2021) and directional similarity (Gal et al., "StyleGAN-NADA", SIGGRAPH 2022), with any encoder."""
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mm.diffusion.metrics.pictures import checked, region


class ImageTextEncoder(Protocol):
    """Pictures and texts in one space. uint8 [H, W, 3] pictures or n texts → [n, width], of any length: only directions are used."""

    def encode_images(self, pictures: Sequence[np.ndarray]) -> Tensor: ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor: ...


def clip_scores(encoder: ImageTextEncoder, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> list[float]:
    """max(100 cos, 0) of each picture and its text."""
    if len(pictures) != len(texts):
        raise ValueError(f"every picture has one text; got {len(pictures)} pictures and {len(texts)} texts")
    return [max(100 * value, 0.0) for value in cosines(_images(encoder, pictures), _texts(encoder, texts))] if pictures else []


def clip_directions(encoder: ImageTextEncoder, sources: Sequence[np.ndarray], edited: Sequence[np.ndarray], before: Sequence[str],
                    after: Sequence[str]) -> list[float]:
    """cos(E(edited) - E(source), E(after) - E(before)), in [-1, 1]; 0 where picture or text does not change."""
    if len({len(sources), len(edited), len(before), len(after)}) > 1:
        raise ValueError(f"every pair of pictures has a pair of texts; got {len(sources)} and {len(edited)} pictures, {len(before)} and {len(after)} "
                         "texts")
    if not sources:
        return []
    moved = _images(encoder, edited) - _images(encoder, sources)
    meant = _texts(encoder, after) - _texts(encoder, before)
    return cosines(moved, meant)


def edited_part(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture inside the mask, black outside: what PIE-Bench scores as the edited part. uint8 [H, W, 3]."""
    return checked(picture) * region(picture, mask)[..., None]


def cosines(first: Tensor, second: Tensor) -> list[float]:
    """Row by row, in float32."""
    if first.shape != second.shape:
        raise ValueError(f"pictures and texts are encoded to one width; got {list(first.shape)} and {list(second.shape)}")
    return [float(value) for value in F.cosine_similarity(first, second, dim=-1)]


@torch.inference_mode()
def _images(encoder: ImageTextEncoder, pictures: Sequence[np.ndarray]) -> Tensor:
    return _normalised(encoder.encode_images([checked(picture) for picture in pictures]), "picture")


@torch.inference_mode()
def _texts(encoder: ImageTextEncoder, texts: Sequence[str]) -> Tensor:
    return _normalised(encoder.encode_texts(list(texts)), "text")


def _normalised(found: Tensor, kind: str) -> Tensor:
    """Of length one, as the original shifts are taken between points of the sphere."""
    found = found.detach().float()
    odd = (~found.isfinite().all(-1)).nonzero().flatten().tolist()
    if odd:
        raise ValueError(f"the encoder gave values that are not finite for {len(odd)} of {len(found)}, first for {kind} {odd[0]}; half precision may "
                         "have overflowed, so give it float32")
    return F.normalize(found, dim=-1)
