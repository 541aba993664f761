"""mm: attention control for vision-language models. Names are imported when first used, so that `import mm` stays light."""
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mm.attention import attend
    from mm.diffusion.control import control
    from mm.models import VLM, steer
    from mm.tokens import TokenMap

__all__ = ["VLM", "TokenMap", "attend", "control", "steer"]

_PACKAGES = ("analysis", "attention", "diffusion", "keep", "language", "masks", "media", "models", "positions", "reweight", "streams",
             "training", "vision")
_HOME = {"VLM": "mm.models.vlm", "TokenMap": "mm.tokens", "attend": "mm.attention", "control": "mm.diffusion.control",
         "steer": "mm.models.steer"}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"mm.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'mm' has no attribute {name!r}; it offers {', '.join(__all__)} and its subpackages")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
