"""A contact sheet of the world, for people: scenes with captions and questions, splits, an episode, a clip, edit pairs.

    python -m data.world.sheet --out sheet.png
"""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.world.clips import Clips
from data.world.dataset import Scenes
from data.world.edits import Edits
from data.world.episodes import Episodes
from data.world.mix import Mix
from data.world.questions import Question
from data.world.render import render
from data.world.sets import question_set
from data.world.splits import Name

WIDTH, MARGIN, GAP = 1460, 40, 20
PAPER, INK, FAINT, RULE = (250, 249, 246), (34, 34, 38), (122, 120, 116), (222, 219, 212)
ANSWER = {"yes": (28, 128, 72), "no": (188, 58, 48)}
LABELS = ((44, 92, 168), (172, 98, 20))
LINE = 19  # px between lines of text


class Page:
    """A picture that is written from top to bottom. y: where the next row begins, in px."""

    def __init__(self, width: int) -> None:
        self.image = Image.new("RGB", (width, 4000), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.y: float = MARGIN

    def text(self, x: float, y: float, words: str, size: int = 14, colour: tuple[int, int, int] = INK) -> float:
        """One line; returns where it ends."""
        font = ImageFont.load_default(size)
        self.pen.text((x, y), words, colour, font=font)
        return x + font.getlength(words)

    def paragraph(self, x: float, y: float, words: str, width: float, colour: tuple[int, int, int] = INK) -> float:
        """Lines broken at `width`; returns the y below the last."""
        font, line = ImageFont.load_default(14), ""
        for mark in "?,.":
            words = words.replace(f" {mark}", mark)  # words of the world are single tokens; people set marks close
        for word in [*words.split(), ""]:
            if line and (not word or font.getlength(f"{line} {word}") > width):
                self.text(x, y, line, colour=colour)
                y, line = y + LINE, word
            else:
                line = f"{line} {word}".strip()
        return y

    def heading(self, title: str, note: str) -> None:
        self.y += 12
        self.pen.line((MARGIN, self.y, self.image.width - MARGIN, self.y), RULE)
        end = self.text(MARGIN, self.y + 12, title, 20)
        self.text(end + 14, self.y + 17, note, colour=FAINT)
        self.y += 50

    def picture(self, x: float, pixels: np.ndarray, scale: int) -> int:
        """The pixels enlarged without smoothing, at the current row; returns the side in px."""
        side = pixels.shape[0] * scale
        self.image.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST), (int(x), int(self.y)))
        return side

    def questions(self, x: float, y: float, asked: Sequence[Question], width: float) -> float:
        for question in asked:
            self.text(x + width - 24, y, question.answer, colour=ANSWER[question.answer])
            y = self.paragraph(x, y, question.text, width - 30)
        return y

    def finish(self) -> Image.Image:
        return self.image.crop((0, 0, self.image.width, int(self.y) + MARGIN // 2))


def sheet(seed: int = 0) -> Image.Image:
    page = Page(WIDTH)
    page.text(MARGIN, page.y, "The embedded world", 30)
    page.text(MARGIN, page.y + 42, "12 shapes, 8 colours, 4 backgrounds that suggest what is there; every truth is known. "
              f"Seed {seed}.", colour=FAINT)
    page.y += 70
    scenes(page, seed)
    splits(page, seed)
    episode(page, seed)
    clips(page, seed)
    edits(page, seed)
    return page.finish()


def scenes(page: Page, seed: int) -> None:
    page.heading("Scenes", "caption and questions; faint objects invite a guess from the background")
    data, side = Scenes("test", 12, seed, questions=4, mix=Mix(0.25, 0.2, 0.2, 0.15, 0.2)), 192
    step = (WIDTH - 2 * MARGIN + GAP) / 6
    for row in range(2):
        bottoms = []
        for col in range(6):
            x = MARGIN + col * step
            scene, asked = data.item(6 * row + col)
            page.picture(x, render(scene), 3)
            y = page.paragraph(x, page.y + side + 8, scene.caption, step - GAP, FAINT)
            bottoms.append(page.questions(x, y + 4, asked, step - GAP))
        page.y = max(bottoms) + GAP


def splits(page: Page, seed: int) -> None:
    page.heading("Splits", "what training never shows: systematic (new pairs of colour and shape), distractor (eight objects), productive (longer)")
    shown: tuple[tuple[Name, str], ...] = (("systematic", "pair"), ("distractor", "pair"), ("productive", "conjunction"))
    step = (WIDTH - 2 * MARGIN + GAP) / 3
    for col, (name, task) in enumerate(shown):
        data, x = Scenes(name, 20, seed), MARGIN + col * step
        rows = question_set(data, task)[:2]
        side = page.picture(x, render(data.scene(rows[0].scene)), 3)
        page.text(x + side + 14, page.y, name, 16)
        page.questions(x + side + 14, page.y + 30, [row.question for row in rows], step - side - GAP - 14)
    page.y += 192 + GAP


def episode(page: Page, seed: int) -> None:
    data = Episodes("test", 40, seed)
    for attribute, demos in (("shape", 4), ("colour", 2)):
        found = next(episode for episode in map(data.episode, range(len(data)))
                     if episode.attribute == attribute and len(episode.demonstrations) == demos)
        page.heading(f"In-context episode: {attribute}", "nonsense words, a new rule in each episode; it is in the pictures only")
        words = dict(zip(found.rule.values(), LABELS, strict=True))
        x = MARGIN
        for shown in found.demonstrations:
            side = page.picture(x, render(shown.scene), 3)
            page.text(page.text(x, page.y + side + 8, "label ? "), page.y + side + 8, shown.label, colour=words[shown.label])
            x += side + GAP
        x += GAP
        side = page.picture(x, render(found.query), 3)
        page.pen.rectangle((x - 4, page.y - 4, x + side + 3, page.y + side + 3), outline=INK, width=2)
        page.text(page.text(x, page.y + side + 8, "label ? "), page.y + side + 8, found.answer, colour=words[found.answer])
        if demos == 4:
            x += side + 2 * GAP
            page.paragraph(x, page.y, "Controls, which bring everyone to 50 %: demonstration pictures black, in random order, or without their text.",
                           WIDTH - MARGIN - x, FAINT)
        page.y += side + 44


def clips(page: Page, seed: int) -> None:
    page.heading("Clips", "two shapes, each in one frame; without order in time half of the answers are right")
    data, side = Clips("test", 40, seed), 128
    for asked in (0, 1):
        clip = next(clip for clip in map(data.clip, range(len(data))) if clip.asked == asked)
        for k, frame in enumerate(clip.media.frames):
            x = MARGIN + k * (side + 10)
            page.picture(x, frame, 4)
            page.text(x + 6, page.y + side - 22, str(k + 1), colour=PAPER)
        end = MARGIN + clip.frames * (side + 10) + GAP
        page.text(page.text(end, page.y + side / 2 - 10, f"{clip.question}  "), page.y + side / 2 - 10, clip.answer, colour=LABELS[0])
        page.y += side + GAP


def edits(page: Page, seed: int) -> None:
    page.heading("Edit pairs", "one object changes colour or shape, all else stays to the last noisy pixel; the mask says where")
    data = Edits("test", 40, seed)
    step = (WIDTH - 2 * MARGIN + GAP) / 2
    for col, attribute in enumerate(("colour", "shape")):
        edit = next(edit for edit in map(data.edit, range(len(data))) if edit.attribute == attribute)
        x = MARGIN + col * step
        for k, pixels in enumerate((*edit.images, np.repeat((edit.mask * 255).astype(np.uint8)[..., None], 3, axis=2))):
            side = page.picture(x + k * (192 + 14), pixels, 3)
        y = page.paragraph(x, page.y + side + 8, edit.before.caption, step - GAP, FAINT)
        page.paragraph(x, y, edit.after.caption, step - GAP)
    page.y += 192 + 2 * LINE + 28


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m data.world.sheet", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="picture file to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        sheet(options.seed).save(options.out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
