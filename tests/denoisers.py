"""Denoisers of diffusers at toy size with random weights, in double precision, and what they are called with."""
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mm.diffusion.prompt import Prompt, Span

WORDS = 6  # text keys


@dataclass(frozen=True, eq=False)
class Toy:
    """model: of a family. given: arguments of its `forward` for a batch, the picture's first. text: keys."""

    model: nn.Module
    given: dict[str, Any]
    text: int = WORDS

    def __call__(self) -> Tensor:
        with torch.no_grad():
            return self.model(**self.given).sample


def prompt(text: str, keys: int = WORDS) -> Prompt:
    words = text.split()
    return Prompt(text, (Span(0, keys, tuple(range(len(words) + 2)), ("<s>", *words, "</s>")),))


def sd(rows: int = 4, height: int = 8, width: int = 8, dtype: torch.dtype = torch.float64, heads: int = 2) -> Toy:
    """Stable Diffusion 1: two levels with attention and one without."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    model = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 16), norm_num_groups=4, cross_attention_dim=12,
        attention_head_dim=heads, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
    return Toy(louder(model, dtype), {"sample": noise(rows, 4, height, width, dtype=dtype), "timestep": torch.tensor(7),
                                      "encoder_hidden_states": noise(rows, WORDS, 12, dtype=dtype)})


def sdxl(rows: int = 4) -> Toy:
    """SDXL: linear projections, several transformer layers a block, sizes and pooled text as added conditions."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    model = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 16), norm_num_groups=4, cross_attention_dim=12,
        attention_head_dim=(2, 4), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2), use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 8)
    return Toy(louder(model), {
        "sample": noise(rows, 4, 8, 8), "timestep": torch.tensor(7), "encoder_hidden_states": noise(rows, WORDS, 12),
        "added_cond_kwargs": {"text_embeds": noise(rows, 8), "time_ids": torch.arange(6.0, dtype=torch.float64).repeat(rows, 1)}})


def pixart(rows: int = 4) -> Toy:
    """PixArt: T5's padding is masked; one row has less of it than the others."""
    from diffusers import PixArtTransformer2DModel

    torch.manual_seed(0)
    model = PixArtTransformer2DModel(num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, num_layers=2, cross_attention_dim=16,
                                     sample_size=8, patch_size=2, caption_channels=12, norm_num_groups=4)
    mask = torch.ones(rows, WORDS)
    mask[:, -1], mask[-1, -2] = 0, 0
    return Toy(louder(model), {
        "hidden_states": noise(rows, 4, 8, 12), "timestep": torch.full((rows,), 7), "encoder_hidden_states": noise(rows, WORDS, 12),
        "encoder_attention_mask": mask, "added_cond_kwargs": {"resolution": None, "aspect_ratio": None}})


def sana(rows: int = 4) -> Toy:
    """Sana: linear attention among pixels, ordinary one to the text."""
    from diffusers import SanaTransformer2DModel

    torch.manual_seed(0)
    model = SanaTransformer2DModel(in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
                                   num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=12,
                                   sample_size=8, patch_size=1)
    return Toy(louder(model), {"hidden_states": noise(rows, 4, 4, 6), "timestep": torch.full((rows,), 7),
                               "encoder_hidden_states": noise(rows, WORDS, 12)})


def sd3(rows: int = 4) -> Toy:
    """SD3.5: joint attention with the picture first, a second attention in the first block, no text behind the last."""
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(0)
    model = SD3Transformer2DModel(sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
                                  joint_attention_dim=12, caption_projection_dim=16, pooled_projection_dim=8, out_channels=4, pos_embed_max_size=8,
                                  dual_attention_layers=(0,), qk_norm="rms_norm")
    return Toy(louder(model), {"hidden_states": noise(rows, 4, 8, 12), "encoder_hidden_states": noise(rows, WORDS, 12),
                               "pooled_projections": noise(rows, 8), "timestep": torch.full((rows,), 7)})


def flux(rows: int = 2) -> Toy:
    """Flux: joint attention with the text first, and blocks that get one sequence; rotary positions."""
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    model = FluxTransformer2DModel(patch_size=1, in_channels=4, num_layers=1, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
                                   joint_attention_dim=12, pooled_projection_dim=8, axes_dims_rope=(4, 4, 8))
    return Toy(louder(model), {"hidden_states": noise(rows, 20, 4), "encoder_hidden_states": noise(rows, WORDS, 12),
                               "pooled_projections": noise(rows, 8), "timestep": torch.full((rows,), 0.5, dtype=torch.float64),
                               "img_ids": torch.cartesian_prod(torch.zeros(1), torch.arange(4.0), torch.arange(5.0)),
                               "txt_ids": torch.zeros(WORDS, 3)})


def qwen(rows: int = 2) -> Toy:
    """Qwen-Image: joint attention with the text first and its padding masked."""
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(0)
    model = QwenImageTransformer2DModel(patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
                                        joint_attention_dim=12, axes_dims_rope=(4, 4, 8))
    mask = torch.ones(rows, WORDS, dtype=torch.bool)
    mask[0, -1] = False
    return Toy(louder(model), {"hidden_states": noise(rows, 20, 16), "encoder_hidden_states": noise(rows, WORDS, 12),
                               "encoder_hidden_states_mask": mask, "timestep": torch.full((rows,), 0.5, dtype=torch.float64),
                               "img_shapes": [[(1, 4, 5)]] * rows})


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Independent of what was drawn before, so that models can be changed one at a time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def louder(model: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Weights at random where the library starts at zero, and so large that maps are far from uniform."""
    model = model.to(dtype).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and ("attn" in name or not bool(weight.any())):
            weight.copy_((torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 2 / weight.shape[-1] ** 0.5).to(dtype))
    return model
