"""Pipelines of diffusers with random weights and a handful of words, small enough to run in a moment: every family, with its own text encoders."""
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from mm.language.word_level import WordLevel
from tests.noise_model import ddim_scheduler

WORDS = ["a", "red", "blue", "circle", "square", "left", "of"]
WIDTH = 16


def tokenizer(length: int = 12) -> PreTrainedTokenizerFast:
    found = WordLevel(WORDS).read()
    found.model_max_length, found.bos_token = length, "<eos>"
    return found


def clip(projected: bool) -> CLIPTextModel | CLIPTextModelWithProjection:
    words = tokenizer()
    config = CLIPTextConfig(vocab_size=len(words), hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
                            max_position_embeddings=12, projection_dim=WIDTH, bos_token_id=words.eos_token_id, eos_token_id=words.eos_token_id)
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def t5(width: int = WIDTH) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer()), d_model=width, d_kv=4, d_ff=WIDTH, num_layers=1, num_heads=2))


def vae(latent_channels: int = 4, shift: float | None = None, **changes: Any) -> AutoencoderKL:
    return AutoencoderKL(block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                         latent_channels=latent_channels, norm_num_groups=4, sample_size=16, scaling_factor=0.4, shift_factor=shift, **changes)


def unet(**changes: Any) -> UNet2DConditionModel:
    sizes: dict[str, Any] = {"sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1, "cross_attention_dim": WIDTH,
                             "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                             "attention_head_dim": 2, "norm_num_groups": 4}
    return UNet2DConditionModel(**(sizes | changes))


def stable_diffusion(scheduler: DDIMScheduler | None = None) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(vae(), clip(False), tokenizer(), unet(), scheduler or ddim_scheduler(steps_offset=1), None, None,
                                   requires_safety_checker=False)


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    network = unet(cross_attention_dim=2 * WIDTH, addition_embed_type="text_time", addition_time_embed_dim=8,
                   projection_class_embeddings_input_dim=WIDTH + 6 * 8)
    return StableDiffusionXLPipeline(vae(), clip(False), clip(True), tokenizer(), tokenizer(), network, ddim_scheduler(steps_offset=1),
                                     add_watermarker=False)


def pixart() -> PixArtAlphaPipeline:
    network = PixArtTransformer2DModel(sample_size=128, num_layers=1, attention_head_dim=8, num_attention_heads=3, in_channels=4, out_channels=8,
                                       cross_attention_dim=3 * 8, caption_channels=WIDTH, patch_size=2, use_additional_conditions=True)
    return PixArtAlphaPipeline(tokenizer(120), t5(), vae(), network, ddim_scheduler())


def sana() -> SanaPipeline:
    language = Gemma2Model(Gemma2Config(vocab_size=len(tokenizer()), hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1,
                                        num_attention_heads=2, num_key_value_heads=1, head_dim=8))
    autoencoder = AutoencoderDC(latent_channels=4, encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), attention_head_dim=4,
                                encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=((), ()),
                                decoder_qkv_multiscales=((), ()), encoder_block_types="ResBlock", decoder_block_types="ResBlock",
                                downsample_block_type="conv", upsample_block_type="interpolate", scaling_factor=0.4)
    network = SanaTransformer2DModel(in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=8,
                                     num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=WIDTH, caption_channels=WIDTH,
                                     sample_size=8, patch_size=1)
    return SanaPipeline(tokenizer(300), language, autoencoder, network, FlowMatchEulerDiscreteScheduler(shift=3.0))


def sd3() -> StableDiffusion3Pipeline:
    network = SD3Transformer2DModel(sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
                                    num_attention_heads=2, caption_projection_dim=WIDTH, joint_attention_dim=2 * WIDTH,
                                    pooled_projection_dim=2 * WIDTH, pos_embed_max_size=16)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return StableDiffusion3Pipeline(network, scheduler, vae(4, 0.1), clip(True), tokenizer(), clip(True), tokenizer(), t5(2 * WIDTH),
                                    tokenizer())


def flux() -> FluxPipeline:
    network = FluxTransformer2DModel(patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
                                     joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8), guidance_embeds=True)
    return FluxPipeline(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae(4, 0.1), clip(False), tokenizer(), t5(), tokenizer(), network)


BUILDERS: dict[str, Callable[[], Any]] = {"stable-diffusion": stable_diffusion, "sdxl": stable_diffusion_xl, "pixart": pixart, "sana": sana,
                                          "sd3": sd3, "flux": flux}


def pipeline(name: str) -> Any:
    """The same weights for the same name. Zero-initialised output layers are filled, so that text and time reach what comes out."""
    torch.manual_seed(0)
    pipe = BUILDERS[name]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            for parameter in part.parameters():
                if parameter.ndim > 1 and not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.1)
    pipe.set_progress_bar_config(disable=True)
    return pipe
