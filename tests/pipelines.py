"""A Stable Diffusion pipeline at toy size, with the real tokeniser."""
from functools import cache

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from tests.prompts import clip


@cache
def stable_diffusion() -> StableDiffusionPipeline:
    """Attention at both of its resolutions, 1/1 and 1/2 of the latents' sides; random weights."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=16, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=16, norm_num_groups=4,
                                attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"))
    text = CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2))
    for name, weight in unet.named_parameters():
        if "attn2.to_q" in name or "attn2.to_k" in name:
            weight.data *= 8  # words differ
    pipe = StableDiffusionPipeline(None, text.eval(), clip(), unet.eval(), DDIMScheduler(), None, None, requires_safety_checker=False)  # type: ignore[arg-type]
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents(prompts: list[str], images: int = 1, steps: int = 4) -> Tensor:
    """[prompts x images, 4, 16, 16] at the end of a run in which each prompt starts from the same noise."""
    noise = torch.randn(1, images, 4, 16, 16, generator=torch.Generator().manual_seed(0)).expand(len(prompts), -1, -1, -1, -1).flatten(0, 1)
    return stable_diffusion()(prompts, num_inference_steps=steps, num_images_per_prompt=images, latents=noise, output_type="latent").images
