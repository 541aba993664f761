"""Reads a whole data set before a training run does: how much of what there is, and every sample that is broken, with the reason."""
import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from data.llava import Conversations
from mm.media.sampling import Even
from mm.sample import BadSample, Sample


@dataclass
class Census:
    """Counts over the usable samples of a data set; broken: (id, reason) of the others."""

    samples: int = 0
    turns: int = 0
    words: int = 0
    media: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    ids: Counter[str] = field(default_factory=Counter)
    unweighted: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        self.samples += 1
        self.ids[sample.id] += 1
        self.turns += len(sample.turns)
        self.words += sum(len(turn.answer.split()) for turn in sample.turns)
        self.tasks.update(turn.task for turn in sample.turns if turn.task)
        self.unweighted += all(turn.weight == 0 for turn in sample.turns)
        for media in sample.media:
            frames, height, width, _ = media.frames.shape
            self.media[media.kind] += 1
            self.frames += frames
            self.sizes[width, height] += 1

    def lines(self) -> Iterator[str]:
        """The counts as a reader wants them; broken samples last."""
        yield f"{self.samples} usable samples, {len(self.broken)} broken"
        if self.samples:
            yield f"{self.turns} turns ({self.turns / self.samples:.1f} a sample), {self.words} words in answers ({self.words / self.turns:.1f} each)"
            yield f"{self.media['image']} images, {self.media['clip']} clips, {self.frames} frames"
        if self.sizes:
            by_area = sorted(self.sizes, key=lambda size: size[0] * size[1])
            yield f"{len(self.sizes)} sizes as read, from {by_area[0][0]} x {by_area[0][1]} to {by_area[-1][0]} x {by_area[-1][1]} pixels"
        if self.tasks:
            yield "tasks: " + ", ".join(f"{task} {count}" for task, count in self.tasks.most_common(20))
        if twice := sum(count > 1 for count in self.ids.values()):
            yield f"{twice} ids are there more than once; messages about them do not tell which record is meant"
        if self.unweighted:
            yield f"{self.unweighted} samples have no answer with a weight above 0; nothing is learnt from them"
        for id, reason in self.broken:
            yield f"broken: {BadSample(id, reason)}"


def census(data: Conversations, indices: Iterable[int]) -> Census:
    """Reads these samples, pictures and all."""
    found = Census()
    for index in indices:
        try:
            found.add(data[index])
        except BadSample as error:
            found.broken.append((error.id, error.reason))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 if every sample is usable, 1 if some are broken, 2 if the file cannot be read at all."""
    parser = argparse.ArgumentParser(prog="python -m data.llava", description=__doc__)
    parser.add_argument("file", help="LLaVA-style .json or .jsonl")
    parser.add_argument("--media", help="the folder to which file names are relative (default: the file's own)")
    parser.add_argument("--frames", type=int, default=8, help="of each clip (default: 8)")
    parser.add_argument("--limit", type=int, help="read the first so many samples only")
    chosen = parser.parse_args(arguments)
    try:
        data = Conversations(chosen.file, chosen.media, Even(chosen.frames))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    found = census(data, range(len(data))[:chosen.limit])
    print("\n".join(found.lines()))
    return 1 if found.broken else 0
