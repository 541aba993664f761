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
    return scores_of(embed_images(encoder, pictures), embed_texts(encoder, texts)) if pictures else []


def clip_directions(encoder: ImageTextEncoder, sources: Sequence[np.ndarray], edited: Sequence[np.ndarray], before: Sequence[str],
                    after: Sequence[str]) -> list[float]:
    """cos(E(edited) - E(source), E(after) - E(before)), in [-1, 1]; 0 where picture or text does not change."""
    if len({len(sources), len(edited), len(before), len(after)}) > 1:
        raise ValueError(f"every pair of pictures has a pair of texts; got {len(sources)} and {len(edited)} pictures, {len(before)} and {len(after)} "
                         "texts")
    if not sources:
        return []
    return directions_of(embed_images(encoder, sources), embed_images(encoder, edited), embed_texts(encoder, before), embed_texts(encoder, after))


def scores_of(pictures: Tensor, texts: Tensor) -> list[float]:
    """`clip_scores` of what `embed_images` and `embed_texts` give, [n, width] each."""
    return [max(100 * value, 0.0) for value in _cosines(pictures, texts)]


def directions_of(sources: Tensor, edited: Tensor, before: Tensor, after: Tensor) -> list[float]:
    """`clip_directions` likewise."""
    return _cosines(edited - sources, after - before)


def edited_part(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture inside the mask, black outside: what PIE-Bench scores as the edited part. uint8 [H, W, 3]."""
    return checked(picture) * region(picture, mask)[..., None]


@torch.inference_mode()
def embed_images(encoder: ImageTextEncoder, pictures: Sequence[np.ndarray]) -> Tensor:
    """[n, width] float32 of length one, as the original shifts are taken between points of the sphere. ValueError where the encoder overflows."""
    return _normalised(encoder.encode_images([checked(picture) for picture in pictures]), "picture")


@torch.inference_mode()
def embed_texts(encoder: ImageTextEncoder, texts: Sequence[str]) -> Tensor:
    """Likewise of texts."""
    return _normalised(encoder.encode_texts(list(texts)), "text")


def _cosines(first: Tensor, second: Tensor) -> list[float]:
    """Row by row."""
    if first.shape != second.shape:
        raise ValueError(f"pictures and texts are encoded to one width; got {list(first.shape)} and {list(second.shape)}")
    return [float(value) for value in F.cosine_similarity(first, second, dim=-1)]


def _normalised(found: Tensor, kind: str) -> Tensor:
    found = found.detach().float()
    odd = (~found.isfinite().all(-1)).nonzero().flatten().tolist()
    if odd:
        raise ValueError(f"the encoder gave values that are not finite for {len(odd)} of {len(found)}, first for {kind} {odd[0]}; half precision may "
                         "have overflowed, so give it float32")
    return F.normalize(found, dim=-1)
