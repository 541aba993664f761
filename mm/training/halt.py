"""A loss or gradient that is no number stops the run, and leaves behind what is needed to find out why."""
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor


class NonFinite(RuntimeError):
    """The loss or the gradient is NaN or infinite. The weights are still those of the step before."""


def tensors_in(item: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor of a (nested) dataclass by its dotted name."""
    if isinstance(item, Tensor):
        return {name: item.detach().cpu().contiguous().clone()}
    if is_dataclass(item):
        return {key: value for field in fields(item)
                for key, value in tensors_in(getattr(item, field.name), f"{name}.{field.name}".lstrip(".")).items()}
    return {}


def stop(what: str, value: float, batch: Any, step: int, folder: Path) -> NonFinite:
    """Save the batch as nan_step_<step>.safetensors and its sample ids as .json in `folder`; return the error to raise."""
    ids: Sequence[str] = batch.ids
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"nan_step_{step}.safetensors"
    save_file(tensors_in(batch), path)
    path.with_suffix(".json").write_text(json.dumps({"step": step, what: str(value), "ids": list(ids)}, indent=1))
    shown = ", ".join(ids[:4]) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")
    return NonFinite(
        f"the {what} of step {step} is {value}; its batch (samples {shown}) is saved in {path} for inspection; the weights are those of the step "
        "before. Usual causes: a learning rate that is too high, no gradient clipping, float16, or a sample that is broken in itself.")
