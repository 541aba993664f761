"""Every kind of encoder with every kind of decoder: one step of training and an answer, from fresh weights, with the network cut."""
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from mm.language import Fresh, WordLevel
from mm.models import VLM
from mm.sample import Media, Sample, Turn
from mm.streams import MLP
from mm.vision import OpenCLIP, Timm, Transformers, VisionEncoder

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
VISION: dict[str, Callable[[], VisionEncoder]] = {
    "timm_vit": lambda: Timm("vit_tiny_patch16_224", image_size=32, pretrained=False, overrides={"depth": 1, "embed_dim": 24}),
    "timm_registers": lambda: Timm("vit_small_patch14_reg4_dinov2", 28, pretrained=False, layer=-2, overrides={"depth": 2, "embed_dim": 24}),
    "timm_convolutional": lambda: Timm("test_resnet", image_size=64, pretrained=False),
    "open_clip": lambda: OpenCLIP("ViT-B-32", image_size=32, overrides={"layers": 1, "width": 64, "patch_size": 16}),
    "clip": lambda: Transformers({"model_type": "clip_vision_model", **TOWER}, layer=-2),
    "siglip": lambda: Transformers({"model_type": "siglip_vision_model", **TOWER}),
    "dinov2": lambda: Transformers({"model_type": "dinov2", **TOWER}),
}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
LANGUAGE: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "qwen3": {"model_type": "qwen3", **SMALL},
    "gemma3": {"model_type": "gemma3_text", **SMALL, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8},
}
WORDS = WordLevel(["is", "there", "a", "star", "yes", "no", "?"])


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*address: object) -> None:
        raise AssertionError(f"something tried to reach the network: {address[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    pictures = [Media(rng.integers(0, 256, (1, 40 + i, 50, 3), dtype=np.uint8)) for i in range(2)]
    text_only = Sample("text", (), (Turn("is there a star ?", "no"),))
    return [Sample(f"picture {i}", (media,), (Turn("<image>is there a star ?", "yes"),)) for i, media in enumerate(pictures)] + [text_only]


@pytest.mark.parametrize("language", LANGUAGE)
@pytest.mark.parametrize("vision", VISION)
def test_trains_a_step_and_answers(vision: str, language: str) -> None:
    torch.manual_seed(0)
    encoder, decoder = VISION[vision](), Fresh(LANGUAGE[language], WORDS)
    vlm = VLM(encoder, MLP(encoder.width, decoder.width), decoder)
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in samples()])
    optimiser = torch.optim.SGD(vlm.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        out = vlm(batch)
        loss = cross_entropy(out.logits, out.targets)
        loss.backward()
        assert next(vlm.vision.parameters()).grad is not None
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    together = vlm.generate(samples(), max_new_tokens=2)
    assert together[1] == vlm.generate(samples()[1:2], max_new_tokens=2)[0]
