"""Text-to-image models that are small enough to train in tests."""
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from mm.diffusion.word_tokenizer import word_tokenizer
from tests.training_runs import ROOT

WORDS = ["a", "left", "of", "above", "circle", "square", "triangle", "cross", "red", "green", "blue", "yellow"]
DRAW = ["fit", "--config", str(ROOT / "configs" / "edit" / "world.yaml")]
PART = "--model.init_args.pipeline.init_args"
SMALL = ("--data.batch_size", "2", "--data.train.size", "20", "--data.val.size", "2", "--journal.every", "1", f"{PART}.latent_channels", "8",
         f"{PART}.fit_on", "10", f"{PART}.text", "{hidden_size: 8, intermediate_size: 8, num_hidden_layers: 0, num_attention_heads: 2}",
         f"{PART}.unet",
         "{block_out_channels: [8, 8], down_block_types: [CrossAttnDownBlock2D, DownBlock2D], "
         "up_block_types: [UpBlock2D, CrossAttnUpBlock2D], layers_per_block: 1, attention_head_dim: 2, norm_num_groups: 4}")


def vae(latent_channels: int) -> AutoencoderKL:
    return AutoencoderKL(block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                         latent_channels=latent_channels, norm_num_groups=2, sample_size=16)


def pixart(folder: Path) -> Path:
    """A PixArt-α of a few thousand weights, saved."""
    torch.manual_seed(0)
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    text = T5EncoderModel(T5Config(vocab_size=len(core.get_vocab()), d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    transformer = PixArtTransformer2DModel(num_attention_heads=2, attention_head_dim=4, in_channels=4, out_channels=8, num_layers=1,
                                           sample_size=8, patch_size=2, cross_attention_dim=8, caption_channels=8, norm_num_groups=2,
                                           use_additional_conditions=False)
    PixArtAlphaPipeline(tokenizer, text, vae(4), transformer, DDPMScheduler()).save_pretrained(folder)
    return folder


def sd3_folder(folder: Path) -> Path:
    sd3().save_pretrained(folder)
    return folder


def sd3() -> StableDiffusion3Pipeline:
    """A Stable Diffusion 3 of a few thousand weights, without its third text encoder, as people use it."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer(WORDS, 12)
    encoders = [CLIPTextModelWithProjection(CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                                           num_attention_heads=2, max_position_embeddings=12, projection_dim=8)) for _ in range(2)]
    transformer = SD3Transformer2DModel(sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=4,
                                        num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=8, pooled_projection_dim=16,
                                        pos_embed_max_size=8)
    scheduler = FlowMatchEulerDiscreteScheduler()
    return StableDiffusion3Pipeline(transformer, scheduler, vae(4), encoders[0], tokenizer, encoders[1], tokenizer, None, None)
