"""A vision-language model of a few kilobytes, and samples for it."""
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mm.language import Fresh, WordLevel
from mm.models import VLM
from mm.sample import Media, Sample, Turn
from mm.streams import MLP, Projector
from mm.vision import ConvViT

WORDS = ["is", "there", "a", "red", "blue", "green", "star", "ring", "circle", "yes", "no", "what", "do", "you", "see", "?", ".", ",", "and"]
CONFIG = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
          "max_position_embeddings": 256}


def toy(family: str = "llama", *, seed: int = 0, config: dict[str, Any] | None = None, gradient_checkpointing: bool = False,
        projector: Callable[[int, int], Projector] = MLP, image_size: int = 16, depth: int = 1, **levers: Any) -> VLM:
    """Four visual tokens a frame, words for text, float32, evaluation mode; weights large enough for attention to matter.

    image_size, depth: of the encoder, which has a feature for each 8 x 8 pixels.
    """
    torch.manual_seed(seed)
    vision = ConvViT(image_size=image_size, width=16, depth=depth, heads=2)
    language = Fresh({"model_type": family, **CONFIG, **(config or {})}, WordLevel(WORDS), gradient_checkpointing=gradient_checkpointing)
    vlm = VLM(vision, projector(16, language.width), language, **levers).eval()
    with torch.no_grad():
        for parameter in vlm.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return vlm


def picture(seed: int = 0, frames: int = 1, size: tuple[int, int] = (16, 16)) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    return Media(pixels, "image" if frames == 1 else "clip")


def about(seed: int = 0, *turns: tuple[str, str]) -> Sample:
    """A sample with one picture and the given (question, answer) turns."""
    asked = turns or (("is there a red star ?", "yes"),)
    return Sample(f"s{seed}", (picture(seed),), tuple(Turn(("" if i else "<image>") + q, a) for i, (q, a) in enumerate(asked)))


def text(question: str = "do you see ?", answer: str = "no .") -> Sample:
    return Sample("text", (), (Turn(question, answer),))
