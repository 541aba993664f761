"""An edit as files beside its page."""
import re
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from mm.analysis.overlay import overlay
from mm.diffusion import Edited, Recipe
from mm.parts import Description, describe

MAP = 512  # px of an overlay's longer side, at least


def write(out: Path, edited: Edited, heats: dict[str, Image.Image], recipe: Recipe) -> list[str]:
    """PNGs of the pictures, of the mask where there is one, and of the overlays, and the recipe, which --recipe reads again. Returns their names."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = {f"{name}.png": Image.fromarray(getattr(edited, name)) for name in ("edited", "source", "plain")}
    if edited.mask is not None:
        pictures["mask.png"] = Image.fromarray(np.where(edited.mask, 255, 0).astype(np.uint8))
    pictures |= {f"map-{number}-{re.sub(r'[^0-9A-Za-z]+', '_', word)}.png": heat for number, (word, heat) in enumerate(heats.items())}
    for stale in (out / "mask.png", *out.glob("map-*.png")):  # of an edit before, with other words
        stale.unlink(missing_ok=True)
    for name, picture in pictures.items():
        picture.save(out / name)
    (out / "recipe.yaml").write_text(as_yaml(recipe), encoding="utf-8")
    return [*pictures, "recipe.yaml"]


def heat_on(edited: Edited, word: str, is_of_source: bool) -> Image.Image:
    """Where the picture looked at the word, over that picture: the source, or, of a word that the source has not, the edited one."""
    return overlay(edited.source if is_of_source else edited.edited, edited.maps[word], MAP)


def as_yaml(recipe: Recipe) -> str:
    content: Description = {"edits": [describe(edit) for edit in recipe.edits], "inversion": describe(recipe.inversion), "steps": recipe.steps,
                            "guidance": recipe.guidance}
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
