"""python -m mm.ask runs/demo --image x.png "is there a star ?"

Prints the answer, with P(yes) beside a yes or no. Writes three panels to x.ask.png or to --out: the picture, where the answer looked (attention),
and which places decided it (occlusion).
"""
import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mm.analysis import Look, looks, occlusion, overlay, read_picture, seen, side_by_side
from mm.analysis.overlay import enlarged
from mm.models import VLM
from mm.sample import PLACEHOLDERS, Media, Sample, Turn

PANEL = 384  # px


@dataclass(frozen=True, eq=False)
class Reply:
    """text: the greedy answer. p_yes: P(yes) / (P(yes) + P(no)) at its first token where it is one of the two. unknown: words of the question that
    the model has no token for. looks: where each token of the answer looked. sample: picture, question and answer."""

    text: str
    p_yes: float | None
    unknown: tuple[str, ...]
    looks: tuple[Look, ...]
    sample: Sample

    @property
    def heat(self) -> np.ndarray:
        """Where the answer looked, [rows, cols]: the mean over its tokens, the end token only where there is no other."""
        return np.mean([look.maps[0][0] for look in self.looks[:-1] or self.looks], axis=0)


def ask(vlm: VLM, picture: np.ndarray, question: str, max_new_tokens: int = 64) -> Reply:
    """Asks one question about a picture, uint8 [H, W, 3]."""
    if not question.strip():
        raise ValueError('the question is empty; ask something, like "is there a star ?"')
    prompt = Sample("the question", (Media(picture[None]),), (Turn(f"{PLACEHOLDERS['image']}\n{question}"),))
    text = vlm.generate([prompt], max_new_tokens=max_new_tokens)[0]
    answered = Sample(prompt.id, prompt.media, (Turn(prompt.turns[0].question, text),))
    return Reply(text, probability_of_yes(vlm, prompt, text), unknown_words(vlm, question), tuple(looks(vlm, [answered])[0]), answered)


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
    parser = argparse.ArgumentParser(prog="python -m mm.ask", description="Ask one question about one picture, and see where the answer looked.")
    parser.add_argument("model", help="run directory, or directory that VLM.save wrote")
    parser.add_argument("question", help='like "is there a star ?"')
    parser.add_argument("--image", required=True, help="the picture")
    parser.add_argument("--out", help="where the overlay goes; <image>.ask.png beside the picture by default")
    parser.add_argument("--places", type=int, default=8, help="N x N places to hide in turn, 0 for no third panel (default: 8)")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="of the answer (default: 64)")
    given = parser.parse_args(arguments)
    try:
        picture = read_picture(given.image)
        vlm = VLM.load(given.model)
        reply = ask(vlm, picture, given.question, given.max_new_tokens)
        out = Path(given.out) if given.out else Path(given.image).with_suffix(".ask.png")
        save(out, panels(vlm, reply, given.places))
    except (ValueError, OSError) as error:
        print(f"mm.ask: {error}", file=sys.stderr)
        return 2
    if reply.unknown:
        print(f"mm.ask: the model has no token for {', '.join(map(repr, reply.unknown))}, so it reads past it", file=sys.stderr)
    print((reply.text or "(no answer)") + ("" if reply.p_yes is None else f"   P(yes) {reply.p_yes:.2f}"))
    print(f"{out}: the picture, where the answer looked{', which places decided it' if given.places else ''}")
    return 0


def panels(vlm: VLM, reply: Reply, places: int) -> Image.Image:
    """The picture, where the answer looked, and which of places x places decided its first token; 0 leaves the last one out."""
    picture = seen(vlm, reply.sample.media[0].frames[0])
    heats = [reply.heat] + ([occlusion(vlm, reply.sample, places=(places, places)).clip(min=0)] if places else [])
    return side_by_side([enlarged(picture, PANEL), *(overlay(picture, heat, PANEL) for heat in heats)])


def save(path: Path, image: Image.Image) -> None:
    """Writes a PNG (or what the suffix says). ValueError where the suffix names no picture format, or the folder is not there."""
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} to write {path.name} to")
    image.save(path)


if __name__ == "__main__":
    raise SystemExit(main())
