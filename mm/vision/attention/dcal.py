"""Dual cross-attention learning (DCAL): Zhu et al., "Dual Cross-Attention Learning for Fine-Grained Visual Categorization and Object
Re-Identification", CVPR 2022. There is no official code; what the paper leaves open is marked as our choice.
"""
from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mm.attention import attend
from mm.vision.attention.global_local import GlobalLocal
from mm.vision.attention.pairwise import pairwise_attention
from mm.vision.attention.rollout import Attended, rollout_row
from mm.vision.conv_vit import Block


class Trunk(nn.Module):
    """A class token and `depth` transformer blocks over the features of an encoder."""

    def __init__(self, width: int, depth: int = 2, heads: int = 4, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.width, self.depth, self.heads, self.mlp_ratio = width, depth, heads, mlp_ratio
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(depth))

    def with_token(self, features: Tensor) -> Tensor:
        """[B, N, width] → [B, 1 + N, width], class token first."""
        return torch.cat([self.token.expand(len(features), 1, -1), features], 1)

    def forward(self, features: Tensor) -> tuple[Tensor, list[Attended]]:
        """Tokens [B, 1 + N, width], and what each layer's attention was computed from."""
        x, layers = self.with_token(features), []
        for block in cast(Iterable[Block], self.blocks):
            q, k, v = block.heads_of(x)
            part = attend(q, k, v, need_lse=True)
            assert part.lse is not None
            layers.append(Attended(q, k, part.lse))
            x = block.after(x, part.out)
        return x, layers

    def paired(self, features: Tensor, partner: Tensor) -> Tensor:
        """Tokens [B, 1 + N, width] where image b also sees, in every layer, the tokens of image partner[b] at that layer, by the same weights.

        Both images pass through layers that see a partner; the paper does not say whose tokens the other's are (our choice).
        """
        x = self.with_token(features)
        for block in cast(Iterable[Block], self.blocks):
            q, k, v = block.heads_of(x)
            x = block.after(x, pairwise_attention(q, (k, v), (k[partner], v[partner])).out)
        return x


class Logits(NamedTuple):
    """[B, classes] each: of self-attention, of global-local cross-attention, and of pair-wise cross-attention, None unless partners were given."""

    whole: Tensor
    local: Tensor
    paired: Tensor | None


class DCAL(nn.Module):
    """A classifier over the features [B, N, width] of an encoder, with both cross-attentions beside its self-attention.

    Args:
        share: of patches that global-local cross-attention looks at once more.
        depth: blocks of self-attention, which pair-wise cross-attention shares.

    Train all three on the same label, weighted by `mm.training.UncertaintyWeighted`; at inference add the class probabilities of whole and local, as
    the paper does for fine-grained classes. The pair-wise branch shares norm and classifier with the whole (our choice).

    The class token of the one global-local block, from which the local logits come (our reading), reads all tokens by itself, whichever patches read
    beside it: `share` and the rollout decide which local tokens there are, and change no logit.
    """

    def __init__(self, width: int, classes: int, depth: int = 2, heads: int = 4, share: float = 0.1, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.width, self.classes, self.depth, self.heads, self.share, self.mlp_ratio = width, classes, depth, heads, share, mlp_ratio
        self.trunk = Trunk(width, depth, heads, mlp_ratio)
        self.global_local = GlobalLocal(width, heads, share, mlp_ratio)
        self.classify = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))
        self.classify_local = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, features: Tensor, partner: Tensor | None = None) -> Logits:
        """partner: int64 [B], for each image another of the batch; training only (`random_partners`)."""
        x, layers = self.trunk(features)
        local = self.global_local(x, rollout_row(layers))
        paired = None if partner is None else self.classify(self.trunk.paired(features, partner)[:, 0])
        return Logits(self.classify(x[:, 0]), self.classify_local(local.tokens[:, 0]), paired)


def random_partners(count: int, generator: torch.Generator | None = None) -> Tensor:
    """For each of `count` images another one, int64 [count]: a random cycle, so that nobody is its own partner. A lone image is its own."""
    order = torch.randperm(count, generator=generator)
    partner = torch.empty_like(order)
    partner[order] = order.roll(1)
    return partner
