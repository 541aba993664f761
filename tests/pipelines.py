"""Pipelines at toy size with random weights, and CLIP's real tokeniser."""
from functools import cache

import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from tests.prompts import clip, t5


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


def t5_encoder(words: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=words, d_model=32, d_kv=8, d_ff=8, num_layers=1, num_heads=1)).eval()


def loud(model: nn.Module) -> nn.Module:
    """Weights so large that prompts and words differ."""
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=0.3)
    return model.eval()


@cache
def stable_diffusion_3() -> StableDiffusion3Pipeline:
    """Joint attention of 8 x 8 picture tokens with 77 of CLIP and 256 of T5."""
    torch.manual_seed(0)
    cutter = t5(["a", "cat", "dog", "on", "mat"])
    first, second = (CLIPTextModelWithProjection(CLIPTextConfig(vocab_size=49408, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
                                                                num_attention_heads=1, projection_dim=8)).eval() for _ in range(2))
    denoiser = SD3Transformer2DModel(sample_size=16, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
                                     joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=16, out_channels=4,
                                     pos_embed_max_size=16)
    pipe = StableDiffusion3Pipeline(loud(denoiser), FlowMatchEulerDiscreteScheduler(), None, first, clip(), second, clip(),  # type: ignore[arg-type]
                                    t5_encoder(len(cutter)), cutter)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@cache
def flux() -> FluxPipeline:
    """Joint attention of packed latents with 512 tokens of T5, without negative rows."""
    torch.manual_seed(0)
    cutter = t5(["a", "cat", "dog", "on", "mat"])
    pooled = CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1)).eval()
    denoiser = FluxTransformer2DModel(patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
                                      joint_attention_dim=32, pooled_projection_dim=8, axes_dims_rope=(4, 4, 8))
    pipe = FluxPipeline(FlowMatchEulerDiscreteScheduler(), None, pooled, clip(), t5_encoder(len(cutter)), cutter, loud(denoiser))  # type: ignore[arg-type]
    pipe.set_progress_bar_config(disable=True)
    return pipe


def joint_latents(pipe: StableDiffusion3Pipeline | FluxPipeline, prompts: list[str]) -> Tensor:
    """At the end of a run of 16 x 16 latents (SD3), or of 16 x 24 packed two by two (Flux)."""
    packed = isinstance(pipe, FluxPipeline)
    noise = torch.randn((1, 8 * 12, 16) if packed else (1, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    size = {"height": 128, "width": 192} if packed else {}
    return pipe(prompts, num_inference_steps=4, latents=noise.repeat(len(prompts), *[1] * (noise.dim() - 1)), output_type="latent", **size).images
