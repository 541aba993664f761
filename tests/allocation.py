"""How large the largest tensor is that is made within a block of code."""
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Largest(TorchDispatchMode):
    """bytes, elements: of the largest storage that an operation returned, forward or backward."""

    bytes, elements = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                held = leaf.untyped_storage().nbytes()
                self.bytes, self.elements = max(self.bytes, held), max(self.elements, held // leaf.element_size())
        return out
