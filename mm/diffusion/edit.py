"""What an edit is: a small object that says where, when and how much, and never computes an attention."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from mm.diffusion.branches import Negatives
from mm.diffusion.columns import Columns
from mm.diffusion.moment import Moment
from mm.diffusion.observer import Observer
from mm.diffusion.prompt import Prompt
from mm.diffusion.site import Site

if TYPE_CHECKING:
    from mm.diffusion.control import Control

Role = Literal["q", "k", "v"]


class Edit:
    """A lever on a denoising run. `mm.control(pipe, [edit, …], prompts=[source, target, …])` applies them in order."""

    def observers(self, prompts: tuple[Prompt, ...]) -> Sequence[Observer]:
        """What it needs to see of the attention; asked for once, when control begins, so an edit starts afresh here."""
        return ()

    def check(self, prompts: Sequence[Prompt]) -> None:
        """ValueError where it cannot act on these prompts, the source first; asked before the run. By default it can act on all."""
        return None


class WordEdit(Edit, ABC):
    """Moves columns of the text map: cross-attention, and the text keys that picture rows see in joint attention."""

    @abstractmethod
    def change(self, columns: Columns, source: Prompt, target: Prompt) -> Columns:
        """`columns` as the edits before left them, changed; regardless of time."""

    @abstractmethod
    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        """[K], share of the change that each column of the target takes at this step."""

    def applies(self, site: Site) -> bool:
        """Whether it acts in this attention; everywhere by default."""
        return True


class SelfEdit(Edit, ABC):
    """Gives edited rows some of the source's queries, keys or values in attention among pixels; in joint attention, in the picture's part of it,
    where queries and keys together mean the picture's block of the map. negatives: what the negative rows of the same prompts take.
    """

    negatives: Negatives = "nothing"

    @abstractmethod
    def takes(self, site: Site, moment: Moment) -> frozenset[Role]:
        """What edited rows take from the source here and now; empty where the edit rests."""


class FeatureEdit(Edit, ABC):
    """Gives edited rows the source's output of a whole module. negatives: what the negative rows of the same prompts take."""

    negatives: Negatives = "nothing"

    @abstractmethod
    def injects(self, module: str, moment: Moment) -> bool:
        """Whether edited rows take the source's output of the denoiser's module of this name."""

    def acts_on(self, module: str) -> bool:
        """Whether it ever injects there; only these modules are hooked."""
        return True


class LatentEdit(Edit, ABC):
    """Changes the latents after each step of the sampler."""

    def begins(self) -> None:
        """Another run begins, whether or not the one before came to its end; nothing by default."""
        return

    @abstractmethod
    def after_step(self, latents: Tensor, control: "Control") -> Tensor:
        """latents: [prompts x images, C, h, w], or as the sampler packs them, as the scheduler gave them. `control.moment` is the step just made."""
