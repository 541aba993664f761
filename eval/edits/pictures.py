"""An edit as files, for whoever wants to look at it."""
import re
from pathlib import Path

import numpy as np
from PIL import Image

from eval.edits.editor import Edited
from eval.frame.benchmark import Row

PICTURES = ("source", "edited", "plain")


def save(edited: Edited, home: Path, name: str) -> Row:
    """PNGs under home/name: source, edited, plain, mask, and a heat map of each word, white at its maximum. Returns what is where, relative to
    `home`: {"source", "edited", "plain", "mask" or None, "maps": {word: path}}. ValueError for what is no picture."""
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    files: Row = {}
    for kind in PICTURES:
        files[kind] = _write(checked(getattr(edited, kind), kind), folder / f"{kind}.png", home)
    files["mask"] = None if edited.mask is None else _write(np.where(edited.mask, 255, 0).astype(np.uint8), folder / "mask.png", home)
    files["maps"] = {word: _write(_grey(heat, word), folder / f"map-{number}-{re.sub(r'[^0-9A-Za-z]+', '_', word)}.png", home)
                     for number, (word, heat) in enumerate(edited.maps.items())}
    return files


def checked(picture: np.ndarray, kind: str) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        odd = "; it holds values that are not finite, so the model overflowed" if picture.dtype.kind == "f" and not np.isfinite(picture).all() else ""
        raise ValueError(f"the editor's {kind} picture is {picture.dtype} {list(picture.shape)}, expected uint8 [H, W, 3]{odd}")
    return picture


def _grey(heat: np.ndarray, word: str) -> np.ndarray:
    if heat.ndim != 2 or not np.isfinite(heat).all():
        raise ValueError(f"the heat map of {word!r} is {list(heat.shape)}{'' if np.isfinite(heat).all() else ' with values that are not finite'}, "
                         "expected [h, w]")
    top = float(heat.max())
    return np.clip(np.asarray(heat, np.float64) * (255 / top if top > 0 else 0), 0, 255).astype(np.uint8)


def _write(pixels: np.ndarray, path: Path, home: Path) -> str:
    Image.fromarray(pixels).save(path)
    return path.relative_to(home).as_posix()
