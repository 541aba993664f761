"""Pair-wise cross-attention: Zhu et al., "Dual Cross-Attention Learning for Fine-Grained Visual Categorization and Object Re-Identification", CVPR
2022.

In training, the tokens of an image also see those of another image. The other's keys are a distraction that the classifier must withstand.
"""
from torch import Tensor

from mm.attention import AttentionPart, attend, merge


def pairwise_attention(q: Tensor, own: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], scale: float | None = None,
                       own_mask: Tensor | None = None, other_mask: Tensor | None = None) -> AttentionPart:
    """Attention of `q` over the keys of both images in one softmax: two parts, merged by their LSE, exactly.

    q: [B, H, Q, D]. own, other: keys [B, Hk, N, D] and values [B, Hk, N, Dv], of any two lengths. Masks: bool, broadcastable to [B, H, Q, N]; a row
    that sees nothing of the other image is plain self-attention, and so is one whose other image has no tokens.
    """
    parts = [attend(q, *own, own_mask, scale=scale, need_lse=True)]
    if other[0].shape[2]:  # not every kernel takes a call without keys
        parts.append(attend(q, *other, other_mask, scale=scale, need_lse=True))
    return merge(parts)
