"""Linear attention among pixels (Sana): `O = phi(Q) (phi(K)^T V) / sums` has a map, `phi(Q) phi(K)^T / sums`, although none is formed.

So whoever takes the source's queries and keys takes the source's map, exactly as in softmax attention. The projections are row by row and so are
the norms behind them, hence their outputs are exchanged.
"""
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mm.diffusion.edit import Role


def is_linear(processor: Any) -> bool:
    """Whether this is a processor of linear attention."""
    return "LinearAttnProcessor" in type(processor).__name__


@contextmanager
def linear(denoiser: nn.Module, taken: Callable[[str], Mapping[int, tuple[int, frozenset[Role]]]]) -> Iterator[None]:
    """taken: for the name of a module, what its rows take from which row, now."""
    handles = []
    for name, module in denoiser.named_modules():
        if is_linear(getattr(module, "processor", None)):
            projections: dict[Role, Any] = {"q": module.to_q, "k": module.to_k, "v": module.to_v}
            handles += [projection.register_forward_hook(functools.partial(_exchanged, taken, name, role))
                        for role, projection in projections.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _exchanged(taken: Callable[[str], Mapping[int, tuple[int, frozenset[Role]]]], name: str, role: Role, module: nn.Module, args: tuple[Any, ...],
               result: Tensor) -> Tensor | None:
    rows = {row: source for row, (source, takes) in taken(name).items() if role in takes}
    return result[[rows.get(row, row) for row in range(result.shape[0])]] if rows else None
