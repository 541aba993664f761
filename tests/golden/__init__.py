"""Recorded vectors of original implementations, by topic and case; each topic's README says how they were made."""
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).parent


def load(topic: str, case: str) -> Any:
    """`tests/golden/<topic>/<case>` as a namespace: the arrays of an .npz as tensors and its strings, or the top level of a .json."""
    arrays, tree = HERE / topic / f"{case}.npz", HERE / topic / f"{case}.json"
    if arrays.exists():
        with np.load(arrays, allow_pickle=False) as stored:
            return SimpleNamespace(**{name: str(stored[name]) if stored[name].dtype.kind == "U" else torch.from_numpy(stored[name].copy())
                                      for name in stored.files})
    if tree.exists():
        return SimpleNamespace(**json.loads(tree.read_text()))
    known = ", ".join(sorted(path.stem for path in (HERE / topic).glob("*")))
    raise FileNotFoundError(f"no recorded vectors {case!r} in {HERE / topic}; there are {known}")


def close(found: Tensor, expected: Tensor) -> None:
    """What float32 leaves of equality between two implementations."""
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def weights(golden: Any) -> dict[str, Tensor]:
    """The state dict that a case recorded, under the original names."""
    return {name[2:].replace("__", "."): value for name, value in vars(golden).items() if name.startswith(("p.", "p_"))}
