"""python -m mm.analysis.levers OUT/: writes masks.png, ccam.png and positions.png, which need no model.

With --model runs/demo --image x.png "is there a star ?" also masses.png and moved.png: how VAR shares out what the answer's first token sees.
"""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mm.analysis.levers import frame_masks, mask_matrices, mass_bars, moved, position_maps
from mm.analysis.levers.style import save
from mm.analysis.masses import masses
from mm.media import load_image
from mm.models import VLM
from mm.models.steer import steer
from mm.reweight import VAR
from mm.sample import PLACEHOLDERS, Media, Sample, Turn


def under(vlm: VLM, rule: VAR, picture: np.ndarray, question: str) -> dict[str, Figure]:
    """Pictures of one question about a picture, uint8 [H, W, 3], under VAR."""
    sample = Sample("the question", (Media(picture[None]),), (Turn(f"{PLACEHOLDERS['image']}\n{question}"),))
    with steer(vlm, reweight=[rule]):
        (table,) = masses(vlm, [sample], rule)
        acts = [layer for layer in range(vlm.language.layers) if rule.applies(layer)]
        return {"masses": mass_bars(table, VAR.group_names), "moved": moved(vlm, sample, acts)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m mm.analysis.levers", description="Pictures of masks and positions, and of VAR in a model.")
    parser.add_argument("out", help="folder for the pictures; made if it is not there")
    parser.add_argument("question", nargs="?", default="", help='like "is there a star ?", with --model and --image')
    parser.add_argument("--model", help="run directory, or directory that VLM.save wrote")
    parser.add_argument("--image", help="the picture that is asked about")
    parser.add_argument("--threshold", type=float, default=20.0, help="of VAR's sinks; small models need a smaller one (default: 20)")
    parser.add_argument("--first-layer", type=int, default=2, help="in which VAR acts (default: 2)")
    given = parser.parse_args(arguments)
    try:
        figures = {"masks": mask_matrices(), "ccam": frame_masks(), "positions": position_maps()}
        if given.model:
            if not (given.image and given.question):
                raise ValueError('--model draws what a model sees of a picture; give --image and a question, like "is there a star ?"')
            rule = VAR(threshold=given.threshold, first_layer=given.first_layer)
            figures |= under(VLM.load(given.model), rule, load_image(given.image), given.question)
        out = Path(given.out)
        out.mkdir(parents=True, exist_ok=True)
        for name, drawn in figures.items():
            save(drawn, out / f"{name}.png")
            print(out / f"{name}.png")
    except (ValueError, OSError) as error:
        print(f"mm.analysis.levers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
