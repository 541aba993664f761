"""The page of one edit: one HTML file without references to anything outside."""
import base64
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from mm.diffusion import Edited, Recipe
from mm.edit.files import as_yaml
from mm.edit.words import caption, has
from mm.versions import revision, versions

HOME = Path(__file__).parent
CRISP = 256  # px; smaller pictures are embedded without loss
SHOWN = 640  # px of a larger one's longer side


@dataclass(frozen=True, eq=False)
class Done:
    """An edit and what made it. heats: overlays of all words, shown: those of the figures. image: name of the given picture, None of a drawn one."""

    prompt: str
    to: str
    edited: Edited
    heats: dict[str, Image.Image]
    shown: tuple[str, ...]
    recipe: Recipe
    kind: str
    model: str
    image: str | None
    seed: int
    device: str
    dtype: str
    seconds: float
    command: str


@dataclass(frozen=True)
class Figure:
    """uri: of the picture, "" where there is none. is_crisp: small, and enlarged by whole pixels."""

    label: str
    note: str
    uri: str
    is_crisp: bool


def page(done: Done) -> str:
    environment = Environment(loader=FileSystemLoader(HOME), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    height, width = done.edited.source.shape[:2]
    over = {word: "source" if has(done.prompt, word) else "edited" for word in done.heats}
    return environment.get_template("edit.html.j2").render(
        style=_text("style.css"), script=_text("look.js"), done=done, width=width, height=height, source=figure("source", "", done.edited.source),
        choices=[figure("edited", "", done.edited.edited), figure("no control", "", done.edited.plain)], figures=figures(done, over),
        captions=[("source", caption(done.prompt, done.to)), ("target", caption(done.to, done.prompt))],
        maps={word: embedded(heat) for word, heat in done.heats.items()}, over=over, first=(done.shown or tuple(done.heats))[:1],
        facts=facts(done, width, height), recipe=as_yaml(done.recipe), versions=versions(), revision=revision(),
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC")


def figures(done: Done, over: dict[str, str]) -> list[Figure]:
    """The pictures, the mask, and the maps of the words that are shown."""
    edited = done.edited
    found = [figure("source", "as the model gives the picture back" if done.image else "drawn from the first caption", edited.source),
             figure("edited", "the second caption, under control", edited.edited),
             figure("no control", "the second caption from the same noise", edited.plain)]
    if edited.mask is not None:
        white = np.repeat(np.where(edited.mask, 255, 0).astype(np.uint8)[..., None], 3, 2)
        found.append(figure("mask", f"white: the edit was let through, {edited.mask.mean():.0%} of the picture", white))
    return found + [Figure(f"“{word}”", f"over the {over[word]} picture", embedded(done.heats[word]), False) for word in done.shown]


def facts(done: Done, width: int, height: int) -> list[tuple[str, str]]:
    return [("model", f"{done.kind}, {done.model}"), ("source", done.image or f"drawn, seed {done.seed}"), ("picture", f"{width} × {height} pixels"),
            ("edits", ", ".join(type(edit).__name__ for edit in done.recipe.edits) or "none"), ("steps", str(done.recipe.steps)),
            ("guidance", f"{done.recipe.guidance:g}"), ("inversion", type(done.recipe.inversion).__name__ if done.image else "none needed"),
            ("computed", f"{done.dtype} on {done.device}, {done.seconds:.1f} s")]


def figure(label: str, note: str, pixels: np.ndarray) -> Figure:
    return Figure(label, note, embedded(Image.fromarray(pixels)), max(pixels.shape[:2]) <= CRISP)


def embedded(image: Image.Image) -> str:
    """A data URI: a small picture to the pixel, a larger one as JPEG."""
    buffer = io.BytesIO()
    if max(image.size) <= CRISP:
        image.save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    image = image.copy()
    image.thumbnail((SHOWN, SHOWN))
    image.save(buffer, "JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _text(name: str) -> Markup:
    return Markup((HOME / name).read_text(encoding="utf-8"))
