"""Outputs of whole modules that edited rows take from the source's row."""
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn

from mm.diffusion.branches import Branches
from mm.diffusion.edit import FeatureEdit
from mm.diffusion.moment import Moment


class Running(Protocol):
    @property
    def moment(self) -> Moment: ...
    @property
    def branches(self) -> Branches: ...


@contextmanager
def injected(denoiser: nn.Module, edits: Sequence[FeatureEdit], running: Running) -> Iterator[None]:
    """Hooks on the modules that the edits act on. ValueError for an edit that finds no module."""
    handles = []
    for edit in edits:
        names = [name for name, _ in denoiser.named_modules() if name and edit.acts_on(name)]
        if not names:
            raise ValueError(f"{type(edit).__name__} acts on no module of this {type(denoiser).__name__}; name one that it has")
        handles += [denoiser.get_submodule(name).register_forward_hook(functools.partial(_injecting, edit, name, running)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _injecting(edit: FeatureEdit, name: str, running: Running, module: nn.Module, args: tuple[Any, ...], result: Any) -> Any:
    """The module's output with the edited rows replaced; the output itself while the edit rests."""
    branches = running.branches
    pairs = branches.taking(edit.negatives)
    if not pairs or not edit.injects(name, running.moment):
        return None
    first = result[0] if isinstance(result, tuple) else result
    if not isinstance(first, Tensor) or first.shape[0] != len(branches.rows):
        raise ValueError(f"the output of {name!r} is no tensor with a row for each of {len(branches.rows)} branches; inject another module")
    source = list(range(first.shape[0]))
    for row, partner in pairs:
        source[row] = partner
    taken = first[source]
    return (taken, *result[1:]) if isinstance(result, tuple) else taken
