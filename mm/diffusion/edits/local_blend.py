"""Local blend: Hertz et al., "Prompt-to-Prompt Image Editing with Cross-Attention Control", ICLR 2023.

With a late start and words to leave out: Mokady et al., "Null-text Inversion for Editing Real Images using Guided Diffusion Models", CVPR 2023.
"""
from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mm.diffusion.blend import blend_mask, blended, latent_size
from mm.diffusion.changed import changed_words
from mm.diffusion.edit import LatentEdit
from mm.diffusion.moment import Window
from mm.diffusion.prompt import Prompt
from mm.diffusion.recorder import Recorder
from mm.diffusion.site import Site
from mm.diffusion.word_columns import Recorded
from mm.diffusion.words import Word, all_keys, as_words

if TYPE_CHECKING:
    from mm.diffusion.control import Control

Words = Word | Sequence[Word]


class LocalBlend(LatentEdit):
    """After each step, pictures are the source's except where chosen words are, in the source or in the target.

    words: of each prompt, the source first; a word, or several; None for those in which a target and the source differ (ours). substruct_words:
    likewise, words whose places stay the source's all the same, none by default.
    threshold: share of a map's maximum above which a word is there; of words, whose maps are widened by a pixel, and of substruct_words. start_blend:
    share of the run before the first blending; with 0 and no substruct_words this is the first release's blend, and the defaults are the one for
    real pictures. reduction: maps are those of the resolution that is closest to 1 / reduction of the latents' sides, by default of 16 x 16 in SD-1.
    recorded: maps as the edits leave them, which is what the released code sees, or raw. `last_mask` is bool [prompts, images, h, w] of the latest
    blending, True where the edit was let through.
    """

    def __init__(self, words: Sequence[Words] | None = None, substruct_words: Sequence[Words] | None = None,
                 threshold: tuple[float, float] = (0.3, 0.3), start_blend: float = 0.2, reduction: float = 4.0,
                 recorded: Recorded = "edited") -> None:
        self.words, self.substruct_words, self.threshold = words, substruct_words, threshold
        self.start_blend, self.reduction, self.recorded = start_blend, reduction, recorded
        self.window = Window(float(start_blend), 1.0)
        if len(tuple(threshold)) != 2 or not all(0 <= share < 1 for share in threshold):
            raise ValueError(f"thresholds are two shares of the maximum in [0, 1), of words and of substruct_words; got {threshold}")
        self.last_mask: Tensor | None = None
        self._recorder: Recorder | None = None
        self._chosen: float | None = None

    def on(self, words: Sequence[Words]) -> "LocalBlend":
        """The same for other words."""
        return LocalBlend(words, self.substruct_words, self.threshold, self.start_blend, self.reduction, self.recorded)

    def check(self, prompts: Sequence[Prompt]) -> None:
        self._keys(prompts)

    def observers(self, prompts: tuple[Prompt, ...]) -> Sequence[Recorder]:
        self._recorder, self._chosen, self.last_mask = Recorder(self._keys(prompts), self._looks, self.recorded), None, None
        return (self._recorder,)

    def after_step(self, latents: Tensor, control: "Control") -> Tensor:
        recorder = self._recorder
        if recorder is None or not recorder.sites:
            raise ValueError("local blend has seen no attention to the text; enter mm.control with it, and run a denoiser that has such attention")
        if self._chosen is None:  # the first step looked everywhere, since which resolutions there are is only known now
            self._chosen = min((site.reduction for site in recorder.sites.values()), key=lambda found: abs(log(found / self.reduction)))
        if self.window.holds(control.moment):
            self.last_mask = self.mask(latents, recorder, len(control.prompts))
            latents = blended(latents, self.last_mask)
        return latents

    def begins(self) -> None:
        if self._recorder is not None:
            self._recorder.reset()

    def mask(self, latents: Tensor, recorder: Recorder, prompts: int) -> Tensor:
        """bool [prompts, images, h, w] of what was recorded so far."""
        assert self._chosen is not None
        images = range(latents.shape[0] // prompts)
        heat = torch.stack([torch.stack([recorder.mean(prompt, image, self._chosen) for image in images]) for prompt in range(prompts)])
        size = latent_size(latents, (heat.shape[2], heat.shape[3]))
        mask = blend_mask(heat[..., 0], size, self.threshold[0])
        return mask if self.substruct_words is None else mask & ~blend_mask(heat[..., 1], size, self.threshold[1], reach=0)

    def _looks(self, site: Site) -> bool:
        return self._chosen is None or site.reduction == self._chosen

    def _keys(self, prompts: Sequence[Prompt]) -> list[list[tuple[int, ...]]]:
        """Of each prompt, keys of its words and, if there are any, of its words to leave out."""
        words = differing(prompts) if self.words is None else self.words
        groups = [("words", words)] if self.substruct_words is None else [("words", words), ("substruct_words", self.substruct_words)]
        for name, given in groups:
            if isinstance(given, str) or len(given) != len(prompts):
                raise ValueError(f"local blend needs {name} for each of the {len(prompts)} prompts, the source first; got {given!r}")
        return [[all_keys(prompt, as_words(given[place])) for _, given in groups] for place, prompt in enumerate(prompts)]


def differing(prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
    """Of each prompt, the places of words that differ: of the source all that any target has not. ValueError where nothing differs."""
    pairs = [changed_words(prompts[0].text, target.text) for target in prompts[1:]]
    if not any(words for pair in pairs for words in pair):
        raise ValueError(f"local blend finds no word that differs from {prompts[0].text!r} in its targets; give it `words`, those of each prompt")
    return [tuple(sorted({place for source, _ in pairs for place in source})), *(target for _, target in pairs)]
