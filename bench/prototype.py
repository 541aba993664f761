"""The embedded model as one writes it for a single experiment: plain PyTorch, no transformers, no levers, AdamW. What `bench.train` compares with.

Convolutional stem, ViT blocks, a two-layer projector, decoder blocks with learned positions under one dense mask; widths and depths of the demo.
"""
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from mm.masks import Mask
from mm.models import VLM
from mm.models.batch import Batch
from mm.positions import Positions


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return x + self.down(gelu(self.up(self.norm2(x))))


class Prototype(nn.Module):
    """Same shapes as `vlm`; `heads` of the decoder and the encoder are its own, as are its weights."""

    def __init__(self, vlm: VLM, vision: dict[str, Any]) -> None:
        super().__init__()
        wide, width = vision["width"], vlm.language.width
        shape = vlm.language.config
        self.stem = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in ((3, wide // 4), (wide // 4, wide // 2), (wide // 2, wide)))
        self.places = nn.Parameter(torch.randn(1, vlm.geometry.tokens, wide) * 0.02)
        self.encoder = nn.ModuleList(Block(wide, vision["heads"]) for _ in range(vision["depth"]))
        self.projector = nn.Sequential(nn.Linear(wide, width), nn.GELU(), nn.Linear(width, width))
        self.words, self.positions = nn.Embedding(shape.vocab_size, width), nn.Embedding(512, width)
        self.decoder = nn.ModuleList(Block(width, shape.num_attention_heads) for _ in range(shape.num_hidden_layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, shape.vocab_size)

    def forward(self, batch: Batch, mask: Mask, positions: Positions) -> Tensor:
        """Sum of the weighted losses."""
        x = batch.pixels.float() / 64 - 2
        for conv in self.stem:
            x = gelu(conv(x))
        x = x.flatten(2).transpose(1, 2) + self.places
        for block in self.encoder:
            x = block(x, None)
        text = self.words(batch.input_ids)
        x = text.flatten(0, 1).index_copy(0, batch.vision_at, self.projector(x).flatten(0, 1).to(text.dtype)).view_as(text)
        x = x + self.positions(positions.assign(batch.tokens))
        visible = mask.dense(batch.tokens)
        for block in self.decoder:
            x = block(x, visible)
        logits = self.head(self.norm(x).flatten(0, 1)[batch.predict_at])
        return (cross_entropy(logits.float(), batch.targets, reduction="none") * batch.target_weights).sum()
