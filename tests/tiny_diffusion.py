"""A Stable Diffusion of random weights, and where it looks, written out: every map of a whole forward, dense."""
from typing import Any

import torch
from torch import Tensor, nn

from mm.diffusion.text import Text

KEYS, WIDTH = 12, 16
IDS = [48, 3, 17, 5, 21, 22, 49]  # <start> a cat and fire fly <end>
NOUNS = [[2], [4, 5]]


def encoder(seed: int = 0) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel
    torch.manual_seed(seed)
    config = CLIPTextConfig(vocab_size=50, hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                            max_position_embeddings=KEYS, bos_token_id=48, eos_token_id=49, pad_token_id=49)
    return CLIPTextModel(config).eval().requires_grad_(False)


def padded(ids: list[int]) -> Tensor:
    return torch.tensor([ids + [49] * (KEYS - len(ids))])


def unet(seed: int = 0) -> Any:
    """Latents 8 x 8, attention at 8 x 8, 4 x 4 and (middle) 2 x 2."""
    from diffusers import UNet2DConditionModel
    torch.manual_seed(seed)
    model = UNet2DConditionModel(sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16, 16), layers_per_block=1, norm_num_groups=4,
                                 down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                                 up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=WIDTH,
                                 attention_head_dim=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "attn2.to_q" in name or "attn2.to_k" in name:
                weight *= 4  # random weights look everywhere alike
    return model.eval().requires_grad_(False)


class Dense:
    """A model and a reader. words_at, pixels_at: rows of the square maps that are averaged."""

    def __init__(self, network: Any, words_at: int = 4, pixels_at: int = 8) -> None:
        self.network, self.words_at, self.pixels_at = network, words_at, pixels_at

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        return self.network(latents, timestep, text.tokens, return_dict=False)[0]

    def words(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        maps = [found for crossing, found in self._maps(latents, timestep, text) if crossing and found.shape[2] == self.words_at**2]
        return torch.cat(maps, 1).mean(1).unflatten(1, (self.words_at, self.words_at))

    def pixels(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        maps = [found for crossing, found in self._maps(latents, timestep, text) if not crossing and found.shape[2] == self.pixels_at**2]
        return torch.cat(maps, 1).mean(1).unflatten(1, (self.pixels_at, self.pixels_at))

    def _maps(self, latents: Tensor, timestep: Tensor, text: Text) -> list[tuple[bool, Tensor]]:
        """Whether over text, and [B, heads, P, K], of each attention."""
        found: list[tuple[bool, Tensor]] = []

        class Written:
            def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **others: Any) -> Tensor:
                read = hidden_states if encoder_hidden_states is None else encoder_hidden_states
                q, k, v = (attn.head_to_batch_dim(part) for part in (attn.to_q(hidden_states), attn.to_k(read), attn.to_v(read)))
                weights = attn.get_attention_scores(q, k)
                found.append((encoder_hidden_states is not None, weights.unflatten(0, (len(hidden_states), attn.heads))))
                return attn.to_out[0](attn.batch_to_head_dim(weights @ v))

        before = dict(self.network.attn_processors)
        self.network.set_attn_processor(Written())
        try:
            self(latents, timestep, text)
        finally:
            self.network.set_attn_processor(before)
        return found
