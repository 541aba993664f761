"""Which recipe an edit follows: the one that is given, or Prompt-to-Prompt's for these captions, with the user's options on top."""
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mm.diffusion import LocalBlend, Recipe, Refine, Replace, Rescale, SelfInject
from mm.diffusion.denoiser import Denoiser
from mm.diffusion.edit import Edit
from mm.diffusion.edits.self_inject import GENERATED, PHOTO
from mm.diffusion.inversion import NullText


@dataclass(frozen=True)
class Wishes:
    """What goes on top of a recipe; None and nothing leave it as it is. cross, self_: shares of the run. blend: a word of each caption, the source's
    first. rescale: words of the target and what their attention is multiplied by."""

    steps: int | None = None
    guidance: float | None = None
    cross: float | None = None
    self_: float | None = None
    blend: tuple[str, str] | None = None
    rescale: tuple[tuple[str, float], ...] = ()


def chosen(given: Recipe | None, wishes: Wishes, prompt: str, to: str, is_photo: bool, denoiser: Denoiser) -> Recipe:
    """The recipe of an edit. An edit that the recipe has is changed where it stands; one that it lacks is added."""
    base = given or usual(prompt, to, is_photo, denoiser)
    edits = list(base.edits)
    if wishes.cross is not None:
        edits = [type(edit)(wishes.cross, edit.legacy) if isinstance(edit, Replace | Refine) else edit for edit in edits]
        if not any(isinstance(edit, Replace | Refine) for edit in edits):
            edits = [aligned(prompt, to, wishes.cross), *edits]
    if wishes.self_ is not None:
        edits = [replace(edit, window=wishes.self_) if isinstance(edit, SelfInject) else edit for edit in edits]
        if not any(isinstance(edit, SelfInject) for edit in edits):
            edits.append(SelfInject(wishes.self_, side(denoiser, is_photo)))
    if wishes.blend is not None:
        edits = [edit.on(wishes.blend) if isinstance(edit, LocalBlend) else edit for edit in edits]
        if not any(isinstance(edit, LocalBlend) for edit in edits):
            edits.append(LocalBlend(wishes.blend))
    if wishes.rescale:
        words, values = zip(*wishes.rescale, strict=True)
        edits = [edit for edit in edits if not isinstance(edit, Rescale)] + [Rescale(words, values)]
    return sampled(replace(base, edits=()), edits, wishes)


def usual(prompt: str, to: str, is_photo: bool, denoiser: Denoiser) -> Recipe:
    """Defaults of Prompt-to-Prompt's notebooks, for generated pictures or for real ones, which are held to their trajectory (`Direct`)."""
    return Recipe((aligned(prompt, to), SelfInject(0.5 if is_photo else 0.4, side(denoiser, is_photo))))


def aligned(prompt: str, to: str, cross: float = 0.8) -> Edit:
    """Word for word where both captions have as many words, along their common words otherwise."""
    return Replace(cross) if len(prompt.split()) == len(to.split()) else Refine(cross)


def side(denoiser: Denoiser, is_photo: bool) -> float:
    """The finest self-attention whose map is taken, as a share of the latents' height: the notebooks' choice, or the coarsest that there is where a
    model has none so coarse: transformers have one resolution, small UNets few (ours)."""
    config = denoiser.network.config
    blocks: Sequence[str] | None = config.get("down_block_types")
    if blocks is None:
        return 1.0
    deepest = max((depth for depth, block in enumerate(blocks) if "Attn" in block), default=0)
    if "Attn" in (config.get("mid_block_type") or ""):
        deepest = len(blocks) - 1
    return max(PHOTO if is_photo else GENERATED, 0.5**deepest)


def sampled(base: Recipe, edits: Sequence[Edit], wishes: Wishes) -> Recipe:
    """With the wished steps and guidance; null texts are optimised for the guidance under which they are used."""
    guidance = base.guidance if wishes.guidance is None else wishes.guidance
    inversion = base.inversion
    if isinstance(inversion, NullText):
        inversion = NullText(guidance, inversion.inner, inversion.lr, inversion.span, inversion.tolerance, inversion.slack)
    return replace(base, edits=tuple(edits), inversion=inversion, steps=base.steps if wishes.steps is None else wishes.steps, guidance=guidance)
