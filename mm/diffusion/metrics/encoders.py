"""CLIP from a local folder: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class TransformersCLIP:
    """A two-tower model of transformers, CLIP or SigLIP, with its processor.

    Args:
        folder: as `save_pretrained` wrote it: config, model.safetensors, preprocessor and tokenizer. PIE-Bench reports ViT-L/14.
        device: cpu, cuda ...
    """

    def __init__(self, folder: str, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoProcessor

        _needs(folder, "config.json")
        try:
            self.model: Any = AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).to(device).eval()
            self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder} holds no CLIP of transformers: {str(error).strip().splitlines()[0]}") from error
        if not hasattr(self.model, "get_image_features"):
            raise ValueError(f"{folder} holds a {type(self.model).__name__}, which does not put pictures and texts into one space; give a CLIP")
        self.folder, self.device = folder, device

    @torch.inference_mode()
    def encode_images(self, pictures: Sequence[np.ndarray]) -> Tensor:
        inputs = self.processor(images=[Image.fromarray(picture) for picture in pictures], return_tensors="pt").to(self.device)
        return _pooled(self.model.get_image_features(pixel_values=inputs["pixel_values"]))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        inputs = self.processor(text=list(texts), return_tensors="pt", padding=True, truncation=True).to(self.device)
        return _pooled(self.model.get_text_features(**inputs))


class OpenCLIP:
    """A model of open_clip with its transform and tokenizer.

    Args:
        folder: with open_clip_config.json and open_clip_model.safetensors, as the hub has them.
        device: cpu, cuda ...
    """

    def __init__(self, folder: str, device: str = "cpu") -> None:
        import open_clip

        _needs(folder, "open_clip_config.json")
        _needs(folder, "open_clip_model.safetensors")  # without it open_clip would go on with fresh weights, and warn
        name = f"local-dir:{folder}"
        try:
            model, _, self.transform = open_clip.create_model_and_transforms(name, device=device)
            self.tokenizer: Any = open_clip.get_tokenizer(name)
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{folder} holds no CLIP of open_clip: {str(error).strip().splitlines()[0]}") from error
        self.model: Any = model.eval()
        self.folder, self.device = folder, device

    @torch.inference_mode()
    def encode_images(self, pictures: Sequence[np.ndarray]) -> Tensor:
        transform: Any = self.transform
        return self.model.encode_image(torch.stack([transform(Image.fromarray(picture)) for picture in pictures]).to(self.device))  # type: ignore[no-any-return]

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        return self.model.encode_text(self.tokenizer(list(texts)).to(self.device))  # type: ignore[no-any-return]


def clip_of(folder: str, device: str = "cpu") -> TransformersCLIP | OpenCLIP:
    """The encoder that the folder holds, of whichever library wrote it."""
    return OpenCLIP(folder, device) if (Path(folder) / "open_clip_config.json").is_file() else TransformersCLIP(folder, device)


def _needs(folder: str, file: str) -> None:
    if not (Path(folder) / file).is_file():
        raise ValueError(f"{folder!r} is no folder with {file}, and nothing is downloaded; copy the model there")


def _pooled(found: Any) -> Tensor:
    """The projected vector: transformers 5 returns it as the pooled output, earlier versions as it is."""
    return found if isinstance(found, Tensor) else found.pooler_output  # type: ignore[no-any-return]
