"""Four edits as one picture for a README: source, edited, no control, and where the word that was changed looked."""
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.world.recognise import recognise
from data.world.vocabulary import SHAPES
from eval.edits.report.cards import best, heat_of, statuses
from eval.edits.report.run import Arm, Run
from eval.frame.benchmark import Row
from mm.analysis.overlay import enlarged

SIDE, GAP, HEAD, TEXT = 160, 12, 30, 46  # px
COLUMNS = ("source", "edited", "no control", "the word’s map")
EACH = 2  # edits of a kind


def sheet(run: Run) -> Image.Image:
    """A row an edit: of each kind the first that are right under the recipe which gets the most right, those first that lose the other object
    without control. Pictures show what their captions name and nothing besides. ValueError where no edits are there."""
    chosen = [(arm, row) for kind in run.arms for arm, row in _examples(run, kind)]
    if not chosen:
        raise ValueError(f"{run.folder} has no edit that is right, so there is nothing to draw")
    page = Image.new("RGB", (len(COLUMNS) * (SIDE + GAP) - GAP, HEAD + len(chosen) * (SIDE + TEXT)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for column, head in enumerate(COLUMNS):
        draw.text((column * (SIDE + GAP), 6), head, "#1c1d21", font)
    for place, (arm, row) in enumerate(chosen):
        top = HEAD + place * (SIDE + TEXT)
        for column, panel in enumerate(_panels(arm, row)):
            page.paste(panel.resize((SIDE, SIDE), Image.Resampling.LANCZOS if column == len(COLUMNS) - 1 else Image.Resampling.NEAREST),
                       (column * (SIDE + GAP), top))
        draw.text((0, top + SIDE + 6), f"{row['before']}  to  {row['after']}", "#63666f", font)
    return page


def _examples(run: Run, kind: str) -> list[tuple[Arm, Row]]:
    name = best({kind: run.controlled(kind)}).get(kind)
    arm, plain = next((arm for arm in run.controlled(kind) if arm.name == name), None), run.plain(kind)
    if arm is None:
        return []
    without = {row["id"]: statuses(row) for row in plain.rows} if plain else {}
    right = [row for row in arm.rows if statuses(row) == "right" and _shows_no_more(arm, row)]
    return [(arm, row) for row in sorted(right, key=lambda row: "lost" not in without.get(row["id"], ""))[:EACH]]


def _shows_no_more(arm: Arm, row: Row) -> bool:
    """Verdicts look for as many objects as the caption names; a picture for readers has no other."""
    return all(len(recognise(np.asarray(Image.open(arm.home / row["files"][name]).convert("RGB")))) == sum(word in SHAPES for word in caption.split())
               for name, caption in (("source", row["before"]), ("edited", row["after"])))


def _panels(arm: Arm, row: Row) -> list[Image.Image]:
    files = row["files"]
    pictures = [enlarged(np.asarray(Image.open(arm.home / files[name]).convert("RGB")), SIDE) for name in ("source", "edited", "plain")]
    heat = heat_of(arm.home, files["edited"], files["maps"][row["words"][1]], SIDE)
    return pictures if heat is None else [*pictures, heat]
