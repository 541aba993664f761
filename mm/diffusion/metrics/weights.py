"""Weights of metrics come from files of the user's."""
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def state_of(weights: str | Path | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of a safetensors file, or of a `.pth` as torchvision and timm publish it (opened without running code); a mapping is itself.
    ValueError where there is no such file or it holds something else."""
    if isinstance(weights, Mapping):
        return weights
    path = Path(weights)
    if not path.is_file():
        raise ValueError(f"weights {str(path)!r}: there is no such file, and nothing is downloaded; copy it there")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the two readers raise almost anything for damaged files
        raise ValueError(f"weights {path} cannot be read: {str(error).splitlines()[0]}; give a .safetensors or .pth file of tensors") from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"weights {path}: expected a mapping of names to tensors, found {type(found).__name__} with something else in it")
    return found
