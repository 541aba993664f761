"""A vision-language model of a few kilobytes, samples for it, and what holds of it whatever it learns."""
from collections.abc import Callable, Sequence
from pathlib import Path
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


def assert_checkpointing_changes_no_gradient(make: Callable[[bool], VLM], learned: Sequence[str]) -> None:
    """make: a model in training mode, with gradient checkpointing or without. learned: parameters, each of which has gradients in every layer."""
    grads = []
    for checkpointed in (False, True):
        vlm = make(checkpointed)
        vlm(vlm.processor.collate([vlm.processor.encode(about(seed)) for seed in range(2)])).logits.square().sum().backward()
        grads.append({name: p.grad for name, p in vlm.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert all((grads[0][name] != 0).flatten(1).any(1).all() for name in learned)
    for name, grad in grads[0].items():
        assert torch.equal(grad, grads[1][name]), name


def assert_saving_keeps(vlm: VLM, parameter: torch.Tensor, folder: Path) -> None:
    """What the model has learned in `parameter`, which is drawn at random here, and answers differ by."""
    plain = vlm.next_token_logits([about(0)])
    with torch.no_grad():
        parameter.normal_()
    vlm.save(folder)
    loaded = VLM.load(folder)
    assert torch.equal(loaded.next_token_logits([about(0)]), vlm.next_token_logits([about(0)]))
    assert not torch.equal(loaded.next_token_logits([about(0)]), plain)
    assert loaded.generate([about(0)], max_new_tokens=4) == vlm.generate([about(0)], max_new_tokens=4)
