"""Toy denoisers of diffusers, in random weights."""
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch import Tensor, nn

KEYS = 7


def toy_unet(**changes: Any) -> UNet2DConditionModel:
    """Three cross-attentions, of 2, 4 and 2 heads; latents of 4 channels, text of width 12."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (2, 4), "cross_attention_dim": 12}
    return UNet2DConditionModel(**settings | changes).eval()


def toy_pixart() -> PixArtTransformer2DModel:
    """Two cross-attentions of 2 heads, over 2 × 2 patches; captions of width 12."""
    torch.manual_seed(0)
    return PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, cross_attention_dim=16, sample_size=8, patch_size=2,
        caption_channels=12, use_additional_conditions=False).eval()


def toy_sd3() -> SD3Transformer2DModel:
    """Joint attention: no keys that are text alone."""
    return SD3Transformer2DModel(sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
                                 joint_attention_dim=12, caption_projection_dim=16, pooled_projection_dim=8, out_channels=4, pos_embed_max_size=8)


def called(denoiser: nn.Module, rows: int = 2, size: tuple[int, int] = (8, 8)) -> Tensor:
    """Its prediction [rows, ...] for inputs that are always the same."""
    generator = torch.Generator().manual_seed(1)
    kind = next(denoiser.parameters()).dtype
    latents = torch.randn(rows, 4, *size, generator=generator).to(kind)
    text = torch.randn(rows, KEYS, 12, generator=generator).to(kind)
    condition: dict[str, Any] = {"encoder_hidden_states": text}
    if isinstance(denoiser, PixArtTransformer2DModel):
        condition |= {"encoder_attention_mask": torch.arange(KEYS).expand(rows, -1) < 5,
                      "added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
    return denoiser(latents, timestep=torch.full((rows,), 500), return_dict=False, **condition)[0]
