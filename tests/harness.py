"""What stands in for lmms-eval where it is not installed: the names that our client takes from it, at version 0.7.3."""
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

OURS = ("mm.clients.lmms_eval", "mm.clients.lmms_eval_model")


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None


class lmms:
    is_simple = True

    def __init__(self) -> None:
        self.task_dict: dict[str, Any] = {}


@dataclass
class GenerationResult:
    text: Any


@dataclass
class Instance:
    args: tuple[Any, ...] = field(default_factory=tuple)


@contextmanager
def standing_in() -> Iterator[None]:
    """Within, our modules see these names in place of the library's."""
    modules = {
        "lmms_eval": {}, "lmms_eval.models": {}, "lmms_eval.api": {}, "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
        "lmms_eval.api.model": {"lmms": lmms}, "lmms_eval.api.instance": {"Instance": Instance, "GenerationResult": GenerationResult}}
    before = {name: sys.modules.pop(name) for name in (*modules, *OURS) if name in sys.modules}
    for name, content in modules.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    try:
        yield
    finally:
        for name in (*modules, *OURS):
            sys.modules.pop(name, None)
        sys.modules.update(before)
