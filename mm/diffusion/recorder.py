"""Word columns over a whole run, and word and pixel maps of one call with their gradients."""
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from mm.diffusion.observer import Observer, View
from mm.diffusion.site import Site
from mm.diffusion.word_columns import Groups, Recorded, word_columns


def about_words(site: Site) -> bool:
    """Every attention with text keys."""
    return site.kind != "self"


def at_reduction(reduction: float) -> Callable[[Site], bool]:
    """Attentions with text keys of one resolution, by the share of the latents' height: 4 is 16 x 16 of 64 x 64."""
    return lambda site: site.kind != "self" and site.reduction == reduction


class Recorder(Observer):
    """Sums of word columns over steps, float32, of conditional rows. Its tensors are its own: no later edit reaches them.

    words: for each prompt its words, each the indices of its tokens on the text axis; a word's column sums its tokens'. where: which attentions; all
    with text keys by default. recorded: "edited" as the edits leave the columns, which is what Prompt-to-Prompt's own code sees, or "raw".
    """

    def __init__(self, words: Sequence[Groups], where: Callable[[Site], bool] = about_words, recorded: Recorded = "edited") -> None:
        self.words, self.where, self.recorded = words, where, recorded
        self.sums: dict[str, dict[tuple[int, int], Tensor]] = {}
        self.counts: dict[str, int] = {}
        self.sites: dict[str, Site] = {}

    def reset(self) -> None:
        """Forgets all, for another run."""
        self.sums, self.counts, self.sites = {}, {}, {}

    def wants(self, site: Site) -> bool:
        return site.kind != "self" and self.where(site)

    @torch.no_grad()
    def observe(self, view: View) -> None:
        rows = [(index, row) for index, row in enumerate(view.rows) if row.conditional and row not in view.rows[:index]
                and row.prompt < len(self.words) and self.words[row.prompt]]
        if not rows:
            return
        name = view.site.name
        self.sites[name] = view.site
        self.counts[name] = self.counts.get(name, 0) + 1
        sums = self.sums.setdefault(name, {})
        for index, row in rows:
            columns = word_columns(view, index, self.words[row.prompt], self.recorded).float()
            key = (row.prompt, row.image)
            sums[key] = sums[key] + columns if key in sums else columns

    def maps(self, prompt: int, image: int = 0) -> dict[str, Tensor]:
        """Means over steps by site, [height, width, words]. ValueError if nothing was recorded of this picture."""
        found = {name: sums[prompt, image] / self.counts[name] for name, sums in self.sums.items() if (prompt, image) in sums}
        if not found:
            raise ValueError(f"nothing is recorded of picture {image} of prompt {prompt}; run the denoiser under control with this recorder, with "
                             f"words for the prompt (given for {len(self.words)} prompts) and attentions that `where` lets through")
        return {name: columns.unflatten(0, (self.sites[name].height, self.sites[name].width)) for name, columns in found.items()}

    def mean(self, prompt: int, image: int = 0, reduction: float = 4) -> Tensor:
        """[height, width, words]: mean over the sites of one resolution. ValueError if there is none, with those that there are."""
        maps = [columns for name, columns in self.maps(prompt, image).items() if self.sites[name].reduction == reduction]
        if not maps:
            known = sorted({site.reduction for site in self.sites.values()})
            raise ValueError(f"no attention to the text at 1/{reduction:g} of the latents' height was recorded; there are 1/{known}")
        return torch.stack(maps).mean(0)


class Reached(Exception):
    """All that was asked for is known; the rest of the denoiser's call is of no use."""


class Maps(Observer):
    """Maps of the latest call of the denoiser with their gradients, by site: for losses on attention.

    where: which attentions. `maps`: name → tensor, `sites`: name → site, both of the latest call, as `view` reads them.
    """

    def __init__(self, where: Callable[[Site], bool]) -> None:
        self.where = where
        self.maps: dict[str, Tensor] = {}
        self.sites: dict[str, Site] = {}
        self._known: frozenset[str] = frozenset()
        self._fresh, self._stops = True, False

    def wants(self, site: Site) -> bool:
        return self.where(site)

    @abstractmethod
    def read(self, view: View) -> Tensor:
        """The maps of one attention."""

    def observe(self, view: View) -> None:
        if self._fresh:
            self.maps, self.sites, self._fresh = {}, {}, False
        self.maps[view.site.name] = self.read(view)
        self.sites[view.site.name] = view.site
        if self._stops and self._known and self._known <= self.maps.keys():
            self._fresh = True
            raise Reached

    def finished(self) -> None:
        self._known, self._fresh = frozenset(self.maps), True

    @contextmanager
    def truncated(self) -> Iterator[None]:
        """Within, a call of the denoiser ends with the last of these attentions, and so does the block: nothing after it has a part in a loss on the
        maps. The first call runs to its end, since which attention is the last is not known before. One call a block.
        """
        self._stops = True
        try:
            yield
        except Reached:
            pass
        finally:
            self._stops = False


class WordMaps(Maps):
    """[rows, P, words] of conditional rows: the same words, as indices of tokens, in each of them. For DPL and Attend-and-Excite."""

    def __init__(self, words: Groups, where: Callable[[Site], bool] = about_words, recorded: Recorded = "edited") -> None:
        super().__init__(where)
        self.words, self.recorded = words, recorded

    def wants(self, site: Site) -> bool:
        return site.kind != "self" and super().wants(site)

    def read(self, view: View) -> Tensor:
        rows = [index for index, row in enumerate(view.rows) if row.conditional]
        return torch.stack([word_columns(view, index, self.words, self.recorded) for index in rows])

    def mean(self) -> Tensor:
        """[rows, P, words]: mean over the sites, which are of one resolution."""
        sizes = {(site.height, site.width) for site in self.sites.values()}
        if len(sizes) != 1:
            raise ValueError(f"maps of {sorted(sizes)} have no mean; let `where` choose one resolution, e.g. at_reduction(4)")
        return torch.stack(list(self.maps.values())).mean(0)
