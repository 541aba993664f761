"""python -m mm.ask runs/demo --image x.png "is there a star ?"
python -m mm.ask runs/order --video clip.mp4 --frames 6 "which shape came first ?"

Prints the answer, with P(yes) beside a yes or no. Of a picture, writes three panels to x.ask.png or to --out: the picture, where the answer looked
(attention), and which places decided it (occlusion). Of a clip, writes frames of it side by side, and below them where the answer looked, on one
scale for all. Where a model's visual tokens have no place in the picture there is no attention to draw.
"""
import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mm.analysis import Look, looks, occlusion, overlay, seen, side_by_side
from mm.analysis.overlay import enlarged
from mm.media import Even, Sampling, SegmentMid, load_image, load_video
from mm.models import VLM
from mm.sample import PLACEHOLDERS, Media, Sample, Turn

PANEL = 384  # px
FRAME = 160  # px, of a clip
MOST = 8  # frames of a clip that are drawn
GAP = 8  # px, between two rows of them
SAMPLINGS: Mapping[str, Callable[[int], Sampling]] = {"segment_mid": SegmentMid, "even": Even}


@dataclass(frozen=True, eq=False)
class Reply:
    """text: the greedy answer. p_yes: P(yes) / (P(yes) + P(no)) at its first token where it is one of the two. unknown: words of the question that
    the model has no token for. looks: where each token of the answer looked, none where visual tokens have no place. sample: what was asked about,
    question and answer."""

    text: str
    p_yes: float | None
    unknown: tuple[str, ...]
    looks: tuple[Look, ...]
    sample: Sample

    @property
    def heats(self) -> np.ndarray:
        """Where the answer looked, [frames, rows, cols]: the mean over its tokens, the end token only where there is no other."""
        return np.mean([look.maps[0] for look in self.looks[:-1] or self.looks], axis=0)

    @property
    def heat(self) -> np.ndarray:
        """Of the first frame, which is all there is of a picture, [rows, cols]."""
        return np.asarray(self.heats[0])


def ask(vlm: VLM, shown: np.ndarray | Media, question: str, max_new_tokens: int = 64) -> Reply:
    """Asks one question about a picture, uint8 [H, W, 3], or about an image or clip."""
    if not question.strip():
        raise ValueError('the question is empty; ask something, like "is there a star ?"')
    media = shown if isinstance(shown, Media) else Media(shown[None])
    prompt = Sample("the question", (media,), (Turn(f"{PLACEHOLDERS[media.kind]}\n{question}"),))
    text = vlm.generate([prompt], max_new_tokens=max_new_tokens)[0]
    answered = Sample(prompt.id, prompt.media, (Turn(prompt.turns[0].question, text),))
    looked = () if vlm.geometry.grid is None else tuple(looks(vlm, [answered])[0])
    return Reply(text, probability_of_yes(vlm, prompt, text), unknown_words(vlm, question), looked, answered)


def read_clip(source: Path, sampling: Sampling) -> Media:
    clip = load_video(source, sampling)
    return Media(clip.pixels, "clip", clip.times)


def probability_of_yes(vlm: VLM, prompt: Sample, answer: str) -> float | None:
    """Of yes against no, spelled as the answer is; None where the answer is neither, or the two begin with the same token."""
    word = answer.strip(" .!").lower()
    if word not in ("yes", "no"):
        return None
    spelled = [str.upper, str.capitalize, str.lower][0 if answer.isupper() else 1 if answer[:1].isupper() else 2]
    yes, no = (vlm.processor.first_id(spelled(candidate)) for candidate in ("yes", "no"))
    if yes == no:
        return None
    logits = vlm.next_token_logits([prompt])[0, [yes, no]]
    return float(logits.softmax(0)[0])


def unknown_words(vlm: VLM, question: str) -> tuple[str, ...]:
    """Words that the tokenizer has no token for; empty for tokenizers that spell everything."""
    tokenizer = vlm.language.tokenizer
    if tokenizer.unk_token_id is None:
        return ()
    encoding = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
    return tuple(dict.fromkeys(question[start:end] for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
                               if token == tokenizer.unk_token_id))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m mm.ask", description="Ask a question about a picture or clip, and see where the answer looked.")
    parser.add_argument("model", help="run directory, or directory that VLM.save wrote")
    parser.add_argument("question", help='like "is there a star ?"')
    shown = parser.add_mutually_exclusive_group(required=True)
    shown.add_argument("--image", help="the picture")
    shown.add_argument("--video", help="the clip")
    parser.add_argument("--frames", type=int, default=16, help="of the clip that the model sees (default: 16; all where there are fewer)")
    parser.add_argument("--sampling", choices=list(SAMPLINGS), default="segment_mid",
                        help="which frames: the middles of equal segments, or the first, the last and evenly between (default: segment_mid)")
    parser.add_argument("--out", help="where the overlay goes; <image>.ask.png beside the picture or clip by default")
    parser.add_argument("--places", type=int, default=8, help="N x N places of a picture to hide in turn, 0 for no third panel (default: 8)")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="of the answer (default: 64)")
    given = parser.parse_args(arguments)
    source = Path(given.image or given.video)
    try:
        media = Media(load_image(source)[None]) if given.image else read_clip(source, SAMPLINGS[given.sampling](given.frames))
        vlm = VLM.load(given.model)
        reply = ask(vlm, media, given.question, given.max_new_tokens)
        out = Path(given.out) if given.out else source.with_suffix(".ask.png")
        save(out, panels(vlm, reply, given.places) if given.image else strip(vlm, reply))
    except (ValueError, OSError) as error:
        print(f"mm.ask: {error}", file=sys.stderr)
        return 2
    if reply.unknown:
        print(f"mm.ask: the model has no token for {', '.join(map(repr, reply.unknown))}, so it reads past it", file=sys.stderr)
    print((reply.text or "(no answer)") + ("" if reply.p_yes is None else f"   P(yes) {reply.p_yes:.2f}"))
    if media.times is not None:
        print(f"{len(media.frames)} frames seen, at {', '.join(f'{time:.2f}' for time in media.times)} s")
    drawn = ["the picture" if given.image else "frames of the clip"] + ["where the answer looked"] * bool(reply.looks)
    print(f"{out}: {', '.join(drawn + ['which places decided it'] * bool(given.image and given.places))}")
    return 0


def panels(vlm: VLM, reply: Reply, places: int) -> Image.Image:
    """The picture, where the answer looked, and which of places x places decided its first token; 0 leaves the last one out."""
    picture = seen(vlm, reply.sample.media[0].frames[0])
    heats = ([reply.heat] if reply.looks else []) + ([occlusion(vlm, reply.sample, places=(places, places)).clip(min=0)] if places else [])
    return side_by_side([enlarged(picture, PANEL), *(overlay(picture, heat, PANEL) for heat in heats)])


def strip(vlm: VLM, reply: Reply) -> Image.Image:
    """Up to `MOST` frames side by side, and below them where the answer looked, where its tokens lie frame by frame."""
    frames = reply.sample.media[0].frames
    drawn = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST)).round().astype(int))
    pictures = [seen(vlm, frames[index]) for index in drawn]
    heats = reply.heats if reply.looks else np.empty((0, 1, 1))
    rows = [side_by_side([enlarged(picture, FRAME) for picture in pictures])]
    if len(heats) == len(frames):
        scale = float(heats.min()), float(heats.max())
        rows.append(side_by_side([overlay(picture, heats[index], FRAME, scale=scale) for picture, index in zip(pictures, drawn, strict=True)]))
    page = Image.new("RGB", (rows[0].width, sum(each.height for each in rows) + GAP * (len(rows) - 1)), "white")
    for place, each in enumerate(rows):
        page.paste(each, (0, place * (rows[0].height + GAP)))
    return page


def save(path: Path, image: Image.Image) -> None:
    """Writes a PNG (or what the suffix says). ValueError where the suffix names no picture format, or the folder is not there."""
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} to write {path.name} to")
    image.save(path)


if __name__ == "__main__":
    raise SystemExit(main())
