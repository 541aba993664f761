"""Modules behind the wrapper that `torch.compile` puts around them."""
from typing import Any


def uncompiled(module: Any) -> Any:
    """The module itself, whose class says what it is; the wrapper has to be called for speed."""
    return getattr(module, "_orig_mod", module)
