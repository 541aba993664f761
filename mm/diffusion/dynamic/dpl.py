"""DPL: Wang et al., "Dynamic Prompt Learning: Addressing Cross-Attention Leakage for Text-Based Image Editing", NeurIPS 2023.

A word that looks at another object, or at the background, changes them when it is edited. So before the edit, the nouns of the caption learn to look
at their objects, in the picture at hand.
"""
from typing import Literal

import torch
from torch import Tensor

from mm.diffusion.dynamic.following import Following
from mm.diffusion.dynamic.learning import Goal, Learning, Scene
from mm.diffusion.dynamic.regions import Regions
from mm.diffusion.leakage import Objective, Term, Threshold, background_leakage, balance, disjoint, of_nouns

BALANCED, CLEAR, APART = Threshold(0.3, 25), Threshold(0.7, 50), Threshold(0.9, 25)


class DPL(Learning):
    """Nouns share no pixels with each other or the background, and each has one for itself. Losses, thresholds and the assignment of clusters equal
    recorded numbers of the original's functions; the pipeline was read in its code.

    Args:
        balance, background, disjoint: weights of the losses; 0 leaves a loss out, and the background is looked for only where it counts. Those of the
            released script; the defaults of its parser are 0, which switches learning off.
        over: the noun with the lowest peak counts ("max", published), or all of them ("mean").
        balanced, clear, apart: thresholds of balance, background and disjoint attention.
        regions: how the background is found; five clusters by default.
        updates, lr, weight_decay, following, words_at, pixels_at: see `Learning`.
    """

    def __init__(self, balance: float = 1.0, background: float = 0.05, disjoint: float = 0.05, over: Literal["max", "mean"] = "max",
                 balanced: Threshold = BALANCED, clear: Threshold = CLEAR, apart: Threshold = APART, regions: Regions | None = None,
                 updates: int = 20, lr: float = 1e-3, weight_decay: float = 1e-2,
                 following: Following | None = None, words_at: float = 4, pixels_at: float = 2) -> None:
        super().__init__(updates, lr, weight_decay, following, words_at, pixels_at)
        self.balance, self.background, self.disjoint, self.over = balance, background, disjoint, over
        self.balanced, self.clear, self.apart, self.regions = balanced, clear, apart, regions or Regions()

    def goal(self, scene: Scene) -> Goal:
        terms = [Term("balance", lambda maps: balance(maps, scene.nouns, self.over), self.balance, self.balanced),
                 Term("disjoint", lambda maps: disjoint(maps, scene.nouns), self.disjoint, self.apart)]
        if not self.background:
            return Goal(Objective(tuple(terms)))
        background = self.found_background(scene)
        terms.append(Term("background", lambda maps: background_leakage(maps, scene.nouns, background), self.background, self.clear))
        return Goal(Objective(tuple(terms)), background)

    @torch.no_grad()
    def found_background(self, scene: Scene) -> Tensor:
        """[H, W] bool at the size of the words' maps, from averages over the trajectory: latents and timesteps of the way down, without guidance."""
        text, words, pixels = scene.wording.text(scene.prompt), [], []
        for step in range(len(scene.schedule)):
            latents, timestep = scene.trajectory.latents[step], scene.timestep(step)
            words.append(of_nouns(scene.reader.words(latents, timestep, text)[0], scene.nouns))
            pixels.append(scene.reader.pixels(latents, timestep, text)[0].float())
        return self.regions.background(torch.stack(pixels).mean(0), torch.stack(words).mean(0))
