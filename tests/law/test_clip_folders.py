"""CLIPs of transformers and of open_clip from local folders, as encoders of metrics."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mm.diffusion.metrics import OpenCLIP, TransformersCLIP, clip_directions, clip_of, clip_scores
from tests.clips_of_text import clip_directory, open_clip_directory

FOLDERS: dict[str, tuple[Callable[[Path], Path], type]] = {
    "transformers": (clip_directory, TransformersCLIP), "open_clip": (open_clip_directory, OpenCLIP)}


@pytest.mark.parametrize("library", FOLDERS)
def test_a_local_folder_encodes_pictures_and_texts_into_one_space(library: str, tmp_path: Path) -> None:
    make, kind = FOLDERS[library]
    encoder = clip_of(str(make(tmp_path / library)))
    assert type(encoder) is kind
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8))
    texts = ["a cat", "a dog on a mat", "red circle"]
    assert encoder.encode_images(pictures).shape == encoder.encode_texts(texts).shape == (3, 16)
    scores = clip_scores(encoder, pictures, texts)
    assert all(0 <= score <= 100 for score in scores)
    assert scores[:1] == pytest.approx(clip_scores(encoder, pictures[:1], texts[:1]), abs=1e-4)  # padding changes nothing
    assert clip_directions(encoder, pictures[:1], pictures[:1], ["a cat"], ["a dog"]) == [0]
    assert not torch.is_grad_enabled() or not encoder.encode_texts(texts).requires_grad


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no folder with config.json, and nothing is downloaded"):
        clip_of(str(tmp_path))
    folder = clip_directory(tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no CLIP of transformers"):
        clip_of(str(folder))
    folder = open_clip_directory(tmp_path / "open")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"is no folder with open_clip_model.safetensors"):
        clip_of(str(folder))
