"""A text-to-image pipeline that begins at nothing: a Stable Diffusion in small, whose words, autoencoder and sizes are given."""
from typing import Any

from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from mm.diffusion.codec import PatchCodec
from mm.diffusion.source import Pictures, Pipeline, Source
from mm.diffusion.word_tokenizer import word_tokenizer


class Fresh(Source):
    """words: the vocabulary, each word one token. length: tokens of a padded caption. side: of the pictures, in px.
    text: of `CLIPTextConfig`; with num_hidden_layers 0 a caption is its words and their places, normalised.
    unet, scheduler: of `UNet2DConditionModel` and `DDIMScheduler`; what follows from the other parts is filled in.
    patch, latent_channels, scale: of the autoencoder, which is fitted to the first `fit_on` training pictures. scale: deviation of the latents. Below
    1 it moves the noise levels at which a picture is decided towards the middle of the schedule: Chen, "On the Importance of Noise Scheduling for
    Diffusion Models", arXiv 2301.10972.
    """

    whole_in_checkpoints = True

    def __init__(self, words: list[str], length: int, side: int, text: dict[str, Any], unet: dict[str, Any], scheduler: dict[str, Any],
                 patch: int = 8, latent_channels: int = 24, scale: float = 1.0, fit_on: int = 1000) -> None:
        self.words, self.length, self.side, self.text, self.unet, self.scheduler = words, length, side, text, unet, scheduler
        self.patch, self.latent_channels, self.scale, self.fit_on = patch, latent_channels, scale, fit_on

    def build(self, pictures: Pictures) -> Pipeline:
        tokenizer = word_tokenizer(self.words, self.length)
        text = CLIPTextModel(CLIPTextConfig(**{
            "vocab_size": len(tokenizer), "max_position_embeddings": self.length, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, **self.text}))
        unet = UNet2DConditionModel(**{
            "sample_size": self.side // self.patch, "in_channels": self.latent_channels, "out_channels": self.latent_channels,
            "cross_attention_dim": text.config.hidden_size, **self.unet})
        codec = PatchCodec(self.patch, self.latent_channels, scaling_factor=self.scale).fit(pictures(self.fit_on, self.side))
        return StableDiffusionPipeline(codec, text, tokenizer, unet, DDIMScheduler(**self.scheduler), None, None, requires_safety_checker=False)
