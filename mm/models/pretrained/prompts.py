"""Samples as the prompts that a pretrained model knows: its processor's chat template, or the plain text where it has none (PaliGemma)."""
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jinja2 import TemplateError
from PIL import Image

from mm.sample import PLACEHOLDERS, BadSample, Media, Sample

PLACE = re.compile("(" + "|".join(map(re.escape, PLACEHOLDERS.values())) + ")")
KINDS = {PLACEHOLDERS["image"]: "image", PLACEHOLDERS["clip"]: "video"}  # placeholder → type of a part of a message
TICKS = 1000  # frames a second of the clock in which clips tell their times, so that timestamps are right to the millisecond

Part = dict[str, str]
Message = dict[str, Any]


class Prompt(NamedTuple):
    """text: ends where the model is to answer. images, clips (uint8 [T, H, W, 3]) and what is told of their times: in the order of their
    placeholders."""

    text: str
    images: list[Image.Image]
    clips: list[np.ndarray]
    timing: list[dict[str, Any]]


class Prompter:
    """processor: of a model of transformers."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.has_template = getattr(processor, "chat_template", None) is not None

    def prompt(self, sample: Sample) -> Prompt:
        """Of the sample's last question; the answers of the turns before it are part of the prompt. BadSample for what does not fit."""
        check_media(sample)
        images = [Image.fromarray(medium.frames[0]) for medium in sample.media if medium.kind == "image"]
        clips = [medium for medium in sample.media if medium.kind == "clip"]
        if clips and getattr(self.processor, "video_processor", None) is None:
            raise BadSample(sample.id, f"it has a clip, and {type(self.processor).__name__} reads none; choose a model that reads clips")
        text = self._render(sample, messages(sample)) if self.has_template else self._plain(sample)
        return Prompt(text, images, [clip.frames for clip in clips], [timing(clip) for clip in clips])

    def answer(self, sample: Sample, text: str) -> tuple[list[int], int]:
        """Tokens of an answer as they follow the prompt, and the one that ends it: what the template writes there, or the tokenizer's end token.
        ValueError where there is neither."""
        prompt, lead, behind = "", "", ""
        if self.has_template:
            asked = messages(sample)
            prompt = self._render(sample, asked)
            whole = self._render(sample, [*asked, {"role": "assistant", "content": [{"type": "text", "text": text}]}])
            if text and whole.startswith(prompt) and text in (tail := whole[len(prompt):]):
                lead, _, behind = tail.partition(text)
        before, through = self._ids(prompt), self._ids(prompt + lead + text)
        own = through[len(before):] if through[:len(before)] == before else self._ids(text)
        ends = [id for id in self._ids(behind)[:1] if id in self.tokenizer.all_special_ids]
        end = ends[0] if ends else self.tokenizer.eos_token_id
        if end is None:
            raise ValueError(f"the tokenizer of {type(self.processor).__name__} has no end token and the chat template writes none: no answer ends")
        return own, int(end)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _render(self, sample: Sample, conversation: Sequence[Message]) -> str:
        asks = conversation[-1]["role"] == "user"
        try:
            return str(self.processor.apply_chat_template(list(conversation), tokenize=False, add_generation_prompt=asks))
        except TemplateError as error:
            raise BadSample(sample.id, f"the chat template of {type(self.processor).__name__} does not take it: {error}") from error

    def _plain(self, sample: Sample) -> str:
        """Pictures first, as such models were trained, then the text."""
        if len(sample.turns) > 1:
            raise BadSample(sample.id, f"{type(self.processor).__name__} has no chat template, so it takes one turn, and this sample has "
                                       f"{len(sample.turns)}")
        words = [part["text"] for part in parts_of(sample.turns[0].question) if part["type"] == "text"]
        return self.processor.image_token * len(sample.media) + "\n".join(filter(None, (sample.system, "".join(words))))


def messages(sample: Sample) -> list[Message]:
    """Up to the last question."""
    found: list[Message] = [{"role": "system", "content": [{"type": "text", "text": sample.system}]}] if sample.system else []
    for turn in sample.turns:
        found += [{"role": "user", "content": parts_of(turn.question)}, {"role": "assistant", "content": [{"type": "text", "text": turn.answer}]}]
    return found[:-1]


def parts_of(question: str) -> list[Part]:
    """Text, images and clips in order. Blanks behind leading placeholders, and line breaks beside any, are our layout and not the question's."""
    found: list[Part] = []
    pieces = PLACE.split(question)
    for place, piece in enumerate(pieces):
        if piece in KINDS:
            found.append({"type": KINDS[piece]})
            continue
        leads = all(part["type"] != "text" for part in found)
        text = piece if place == 0 else piece.lstrip() if leads else piece.lstrip("\n")
        text = text if place == len(pieces) - 1 else text.rstrip("\n")
        if text.strip() or (text and not leads):
            found.append({"type": "text", "text": text})
    return found


def check_media(sample: Sample) -> None:
    """BadSample where placeholders and media differ."""
    if not sample.turns:
        raise BadSample(sample.id, "it has no turns; a sample asks at least one question")
    asked = [KINDS[place] for turn in sample.turns for place in PLACE.findall(turn.question)]
    given = ["image" if medium.kind == "image" else "video" for medium in sample.media]
    if asked != given:
        raise BadSample(sample.id, f"its placeholders ask for {', '.join(asked) or 'nothing'} and it comes with {', '.join(given) or 'nothing'}; "
                                   "each image and clip needs exactly one placeholder in the questions, in the same order")


def timing(clip: Media) -> dict[str, Any]:
    """When its frames are shown, as a video processor wants to be told. Without times a frame a second is assumed."""
    times = clip.times or tuple(range(len(clip.frames)))
    ticks = [round(TICKS * time) for time in times]
    spacing = (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else TICKS
    return {"total_num_frames": round(spacing * len(ticks)), "fps": TICKS, "frames_indices": ticks, "duration": spacing * len(ticks) / TICKS}
