"""A model that a harness puts questions to: contexts with pictures and clips, in batches, under a lever."""
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from mm.clients.settings import Settings
from mm.clients.speaking import generated, load, scored
from mm.levers import pulled, read_lever
from mm.media import SegmentMid, load_video
from mm.sample import PLACEHOLDERS, Media, Sample, Turn


class Question(NamedTuple):
    """id: names it in errors. context: text, with or without placeholders of its media. visuals: reads them; PIL images, or paths of clips."""

    id: str
    context: str
    visuals: Callable[[], Sequence[Any] | None]


class Questioned:
    """The model in `run`, assembled or pretrained, under the lever of a YAML file.

    batch_size: questions a forward pass. frames: of a clip, the middles of equal segments. dtype: of the weights, as they were saved by default.
    lora: directory of an adapter that is merged into the language model.
    """

    def __init__(self, run: str, lever: str | None = None, batch_size: int = 1, device: str = "cpu", frames: int = 16, dtype: str | None = None,
                 lora: str | None = None) -> None:
        self.lever = read_lever(Path(lever)) if lever else None
        self.vlm = load(run, device, dtype, lora)
        self.batch_size = batch_size
        self.sampling = SegmentMid(frames)

    def generate(self, questions: Sequence[Question], settings: Sequence[Settings]) -> list[str]:
        """The answer to each, in order. Questions with the same settings share batches, long ones first, so that what does not fit fails at once."""
        texts = [""] * len(questions)
        for places, samples in self._batches(questions, settings):
            own = settings[places[0]]
            for i, text in zip(places, generated(self.vlm, pulled(self.lever), samples, own, own.seed + places[0]), strict=True):
                texts[i] = own.cut(text)
        return texts

    def score(self, questions: Sequence[Question], continuations: Sequence[str]) -> list[tuple[float, bool]]:
        """Of each continuation as the answer, without its end: the log-probability, and whether greedy decoding gives it.

        A blank in front parts it from the context in plain text; behind a chat template it is no part of an answer, and it is dropped.
        """
        scores = [(0.0, True)] * len(questions)
        for places, samples in self._batches(questions, [None] * len(questions)):
            found = scored(self.vlm, pulled(self.lever), samples, [continuations[i].lstrip() for i in places])
            for i, score in zip(places, found, strict=True):
                scores[i] = score
        return scores

    def sample(self, question: Question) -> Sample:
        """Media in front of a context that does not place them itself. BadSample, when it becomes a row, where it places others than there are."""
        media = tuple(self._medium(question.id, visual) for visual in question.visuals() or ())
        lead = "" if any(mark in question.context for mark in PLACEHOLDERS.values()) else "".join(f"{PLACEHOLDERS[each.kind]}\n" for each in media)
        return Sample(question.id, media, (Turn(lead + question.context),))

    def _medium(self, id: str, visual: Any) -> Media:
        if isinstance(visual, Image.Image):
            return Media(np.array(visual.convert("RGB"))[None])
        if isinstance(visual, str | Path):
            clip = load_video(visual, self.sampling)
            return Media(clip.pixels, "clip", clip.times)
        raise ValueError(f"{id}: its task shows a {type(visual).__name__}; this model sees PIL images, and clips given by their path")

    def _batches(self, questions: Sequence[Question], kinds: Sequence[object]) -> Iterator[tuple[list[int], list[Sample]]]:
        """Places of questions of one kind, and the questions with their media, like with like only, as processors want them."""
        with tqdm(total=len(questions), desc="answers", disable=None) as bar:
            for kind in dict.fromkeys(kinds):
                order = sorted((i for i, each in enumerate(kinds) if each == kind), key=lambda i: -len(questions[i].context))
                for start in range(0, len(order), self.batch_size):
                    alike: dict[object, list[tuple[int, Sample]]] = {}
                    for i in order[start:start + self.batch_size]:
                        sample = self.sample(questions[i])
                        alike.setdefault(_shown(sample), []).append((i, sample))
                    for part in alike.values():
                        yield [i for i, _ in part], [sample for _, sample in part]
                        bar.update(len(part))


def _shown(sample: Sample) -> tuple[bool, tuple[int, ...]]:
    """Whether there are images, and the lengths of the clips."""
    clips = tuple(len(medium.frames) for medium in sample.media if medium.kind == "clip")
    return len(clips) < len(sample.media), clips
