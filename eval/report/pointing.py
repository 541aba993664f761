"""Does it look at what it is asked about? Share of a map on the shape in question, where the world says which pixels that is."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.world import Scene
from data.world.render import object_mask
from eval.frame.world import pictures
from eval.report.gallery import in_batches
from eval.report.run import Filed
from mm.analysis import occlusion
from mm.models import VLM
from mm.sample import Sample, Turn

ATTENTION, OCCLUSION = 120, 16  # questions; hiding places takes many passes


@dataclass(frozen=True)
class Share:
    """Mean share of a map on the shape in question, over `n` questions; area: share of the picture that it takes, what an even spread would give."""

    on_shape: float
    area: float
    n: int


@dataclass(frozen=True)
class Pointing:
    """Over questions about a shape that is there and was found. occlusion: None where it was not asked for."""

    attention: Share
    occlusion: Share | None


def pointing(vlm: VLM, filed: Filed, places: int) -> Pointing | None:
    """From the first questions of a POPE result on the world that were answered yes and rightly so; None for other data, or without such answers."""
    chosen = [row for row in filed.rows if row["label"] == row["prediction"] == "yes" and row.get("split") == "random"][:ATTENTION]
    if filed.result.settings.get("data") != "world" or filed.view != "full" or not chosen:
        return None
    scenes = {picture.name: picture for picture in pictures(int(filed.result.settings["size"]))}
    asked = [Sample(row["id"], scenes[row["picture"]].media(), (Turn(f"<image>\n{row['text']}", row["answer"]),)) for row in chosen]
    truth = [(scenes[row["picture"]].scene, row["text"].split()) for row in chosen]
    attention = share([look[0].maps[0][0] for look in in_batches(vlm, asked)], truth)
    hidden = [occlusion(vlm, sample, places=(places, places)).clip(min=0) for sample in asked[:OCCLUSION]] if places else []
    return Pointing(attention, share(hidden, truth[:OCCLUSION]) if hidden else None)


def share(maps: Sequence[np.ndarray], truth: Sequence[tuple[Scene, Sequence[str]]]) -> Share:
    """truth: scene and words of the question of each map."""
    areas = [covered(scene, words, heat.shape) for heat, (scene, words) in zip(maps, truth, strict=True)]
    on_shape = [float((heat * area).sum() / max(heat.sum(), 1e-12)) for heat, area in zip(maps, areas, strict=True)]
    return Share(float(np.mean(on_shape)), float(np.mean([area.mean() for area in areas])), len(maps))


def covered(scene: Scene, words: Sequence[str], grid: tuple[int, ...]) -> np.ndarray:
    """Places of the grid that objects of a shape among the words cover to an eighth or more, bool [rows, cols]."""
    mask = np.max([object_mask(thing) for thing in scene.objects if thing.shape in words], axis=0)
    return np.asarray(Image.fromarray(mask).resize((grid[1], grid[0]), Image.Resampling.BOX)) >= 0.125
