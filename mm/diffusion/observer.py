"""Who looks at the attention of a denoising run without changing it."""
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mm.diffusion.branches import Row
from mm.diffusion.site import Site

if TYPE_CHECKING:
    from mm.diffusion.operands import Axes, RowEdit
    from mm.diffusion.watched import Call


@dataclass(frozen=True, eq=False)
class View:
    """One attention, as it was computed: where, its operands, where text and picture lie in them, and what was edited. rows: what each row is of."""

    site: Site
    call: "Call"
    axes: "Axes"
    rows: tuple[Row, ...]
    edits: tuple["RowEdit", ...]


class Observer(ABC):
    """Sees each attention that it wants, after its edits."""

    @abstractmethod
    def wants(self, site: Site) -> bool:
        """Whether to look here."""

    @abstractmethod
    def observe(self, view: View) -> None:
        """One attention; called under the caller's gradient mode."""

    def finished(self) -> None:
        """A call of the denoiser is over; nothing by default."""
        return
