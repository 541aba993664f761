"""Edits of pictures, drawn or given, under a recipe: a sampler's loop with the levers of `mm.control`, from the noise of a seed or an inversion."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mm.diffusion.branches import Branches
from mm.diffusion.control import control
from mm.diffusion.daam import heat
from mm.diffusion.denoisers import denoiser
from mm.diffusion.dynamic import AttentionReader, Learning, scene
from mm.diffusion.edit import Edit
from mm.diffusion.edits.local_blend import LocalBlend
from mm.diffusion.guidance import guided
from mm.diffusion.inversion import Trajectory
from mm.diffusion.prompt import Prompt
from mm.diffusion.recipe import Recipe
from mm.diffusion.recorder import Recorder
from mm.diffusion.request import Request
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text, beside
from mm.diffusion.tokenise import tokenized
from mm.diffusion.words import keys_if_any, word_keys


@dataclass(frozen=True, eq=False)
class Edited:
    """source: the picture as the model gives it back; edited; plain: of the target caption from the same noise, without control: uint8 [H, W, 3].
    mask: bool [H, W], where a local blend let the edit through in the end, None without one. maps: word -> float32 [h, w] in [0, 1],
    where the picture looked at the word over the whole run: the source's, and of words that the source has not the edited picture.
    """

    source: np.ndarray
    edited: np.ndarray
    plain: np.ndarray
    mask: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)


class Editor:
    """A pipeline of diffusers under a recipe. side: of pictures that the model draws, in pixels, (height, width) or both; by default what the model
    is made for. A given picture keeps its size.
    """

    def __init__(self, pipe: Any, recipe: Recipe | None = None, side: int | tuple[int, int] | None = None) -> None:
        self.pipe, self.recipe = pipe, recipe or Recipe()
        self.denoiser = denoiser(pipe)
        if hasattr(self.denoiser, "distilled_guidance"):
            self.denoiser.distilled_guidance, self.guidance = self.recipe.guidance, 1.0
        else:
            self.guidance = self.recipe.guidance
        self.size = (side, side) if isinstance(side, int) else side or self.denoiser.usual_size

    def __call__(self, requests: Sequence[Request]) -> list[Edited]:
        """An edit for each request. ValueError for captions that the recipe cannot align and pictures that the model cannot read."""
        runs = [self._run(request) for request in requests]
        return [self._shown(run, plain) for run, plain in zip(runs, self._plain(runs), strict=True)]

    @torch.no_grad()
    def _run(self, request: Request) -> "_Run":
        prompts = tokenized(self.pipe, [request.prompt, request.to])
        edits = [edit for edit in (_blending(edit, request.blend) for edit in self.recipe.edits) if edit is not None]
        for edit in edits:
            edit.check(prompts)
        recorder = Recorder([[keys_if_any(prompt, word) for word in request.words] for prompt in prompts]) if request.words else None
        for word in request.words:
            if not any(keys_if_any(prompt, word) for prompt in prompts):
                word_keys(prompts[1], word)  # says what is wrong
        text, negative = self.denoiser.text([request.prompt, request.to])
        trajectory, schedule = self._start(request, text, negative)
        texts: Sequence[Text] = [text] * len(schedule)
        if self.recipe.words is not None:
            trajectory, texts = self._learned(self.recipe.words, request, trajectory)
        latents = self._controlled(edits, prompts, recorder, trajectory, schedule, texts, negative)
        maps = {} if recorder is None else _maps(recorder, prompts, request.words, latents)
        blends = [edit.last_mask for edit in edits if isinstance(edit, LocalBlend) and edit.last_mask is not None]
        return _Run(latents, maps, blends[-1][1, 0].cpu().numpy() if blends else None, trajectory, schedule, text.rows([1]), negative.rows([1]))

    @torch.no_grad()
    def _shown(self, run: "_Run", plain: Tensor) -> Edited:
        source, edited, without = _pixels(self.denoiser.decode(torch.cat([run.latents, plain])))
        return Edited(source, edited, without, None if run.mask is None else _enlarged(run.mask, source.shape[:2]), run.maps)

    def _start(self, request: Request, text: Text, negative: Text) -> tuple[Trajectory, Schedule]:
        """The noise to start from, and what holds the source to its picture."""
        if request.image is not None:
            latents = self.denoiser.encode(request.image)
            schedule = self.denoiser.schedule(self.recipe.steps, latents)
            with torch.enable_grad():
                return self.recipe.inversion.invert(self.denoiser, schedule, latents, text.rows([0]), negative.rows([0])), schedule
        vae, factor = self.pipe.vae.config, self.pipe.vae_scale_factor
        shape = (1, vae.latent_channels, *(pixels // factor for pixels in self.size))
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed)).to(self.denoiser.device)
        return Trajectory(noise[None]), self.denoiser.schedule(self.recipe.steps, noise)

    def _learned(self, words: Learning, request: Request, inverted: Trajectory) -> tuple[Trajectory, Sequence[Text]]:
        """What to edit along, and how both captions read at each step, the nouns as they were learned in this picture."""
        if request.image is None:
            raise ValueError("words are learned in a picture that is given; give an image, or a recipe without `words`")
        nouns = request.nouns or (() if self.recipe.nouns is None else self.recipe.nouns(request.prompt))
        if not nouns:
            raise ValueError(f"which words of {request.prompt!r} are to be learned? Give the request its nouns, or the recipe a tagger as `nouns`")
        with torch.enable_grad():
            where = scene(self.denoiser, inverted, request.prompt, nouns, [request.to],
                          reader=AttentionReader(self.denoiser.network, self.denoiser, words.words_at, words.pixels_at))
            learned = words.learn(where)
        return learned.trajectory, learned.texts(where.wording, [request.prompt, request.to])

    def _controlled(self, edits: Sequence[Edit], prompts: Sequence[Prompt], recorder: Recorder | None, trajectory: Trajectory, schedule: Schedule,
                    texts: Sequence[Text], negative: Text) -> Tensor:
        """Latents [2, C, h, w] of source and edited picture. texts: of both, at each step."""
        z = trajectory.noise.expand(2, *trajectory.noise.shape[1:]).clone()
        alone = self.guidance == 1
        branches = Branches.unguided(2) if alone else Branches.guided(2) if texts[0].fits(negative) else (Branches.negative(2), Branches.unguided(2))
        with control(self.denoiser.network, edits, prompts, branches, [recorder] if recorder is not None else ()) as running:
            for step, timestep in enumerate(schedule.timesteps):
                running.at(step, len(schedule))
                against = negative if trajectory.negatives is None else trajectory.negatives[step].rows([0, 0])
                z = trajectory.down(schedule, step, z, guided(self.denoiser, z, timestep, texts[step], against, self.guidance))
                z = running.after(trajectory.after_step(z, step), complete=True)
        return z

    @torch.no_grad()
    def _plain(self, runs: Sequence["_Run"]) -> list[Tensor]:
        """The target captions from the same noise, without control; runs alike go through the model together."""
        found: dict[int, Tensor] = {}
        for first, run in enumerate(runs):
            if first in found:
                continue
            alike = [index for index in range(first, len(runs)) if runs[index].plain_as(run)]
            text, negative = (reduce(beside, [getattr(runs[index], name) for index in alike]) for name in ("text", "negative"))
            z = torch.cat([runs[index].trajectory.noise for index in alike])
            for step, timestep in enumerate(run.schedule.timesteps):
                against = negative if run.trajectory.negatives is None else run.trajectory.negatives[step]
                z = run.schedule.down(step, z, guided(self.denoiser, z, timestep, text, against, self.guidance))
            found |= dict(zip(alike, z.split(1), strict=True))
        return [found[index] for index in range(len(runs))]


@dataclass(frozen=True, eq=False)
class _Run:
    """latents: [2, C, h, w], of the source and of the edited picture. text, negative: of the target alone."""

    latents: Tensor
    maps: dict[str, np.ndarray]
    mask: np.ndarray | None
    trajectory: Trajectory
    schedule: Schedule
    text: Text
    negative: Text

    def plain_as(self, other: "_Run") -> bool:
        """Whether both may go through the model in one batch."""
        return self is other or (type(self.trajectory) is type(other.trajectory) and self.trajectory.negatives is other.trajectory.negatives is None
                                 and self.latents.shape == other.latents.shape and self.text.fits(other.text) and self.negative.fits(other.negative))


def _blending(edit: Edit, words: tuple[str, ...] | None) -> Edit | None:
    """A local blend that names no words with the request's, None where it is to have none; other edits as they are."""
    if not isinstance(edit, LocalBlend) or edit.words is not None or words is None:
        return edit
    return edit.on(words) if words else None


def _maps(recorder: Recorder, prompts: Sequence[Prompt], words: Sequence[str], latents: Tensor) -> dict[str, np.ndarray]:
    """Heat of each word, in the source where it has the word."""
    size = (latents.shape[-2], latents.shape[-1])
    return {word: heat(recorder, 0 if keys_if_any(prompts[0], word) else 1, index, size).cpu().numpy() for index, word in enumerate(words)}


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [h, w] of latents → of pictures, [H, W]."""
    return np.array(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))


def _pixels(pictures: Tensor) -> np.ndarray:
    """[B, 3, H, W] about [-1, 1] → uint8 [B, H, W, 3]."""
    levels = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round()
    return levels.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
