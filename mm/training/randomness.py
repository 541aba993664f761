"""The random generators of a process as plain data, so that a run can go on exactly where it was, and a sample can own its randomness."""
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

MASK = 2**64 - 1


def generator_states() -> dict[str, Any]:
    """State of the generators of Python, numpy, torch and every CUDA device, made of what `torch.load(weights_only=True)` accepts."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, internal, normal = random.getstate()
    return {
        "python": [version, list(internal), normal],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Undo everything that was drawn since `generator_states`. CUDA states are left alone where the number of devices differs."""
    version, internal, normal = states["python"]
    random.setstate((version, tuple(internal), normal))
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


@contextmanager
def kept_generators() -> Iterator[None]:
    """The generators of Python, numpy and torch (CPU) are afterwards where they were before."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def seed_generators(*key: int) -> None:
    """From now on the generators of Python, numpy and torch (CPU) depend on `key` alone. Costs microseconds, as it is done for each sample."""
    seed = 0
    for number in key:  # the mixing of splitmix64, so that neighbouring keys have nothing in common
        seed = (seed + number + 0x9E3779B97F4A7C15) & MASK
        seed = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & MASK
        seed = (seed ^ seed >> 27) * 0x94D049BB133111EB & MASK
        seed ^= seed >> 31
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
