"""Order in time on the world's clips: nothing but order beats one half, and a model that knows the order is told from one that knows the shapes."""
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.world import Clips, World
from data.world.clips import SHAPES_IN_CLIPS, Clip
from eval.__main__ import evaluate
from eval.frame.benchmark import Item
from eval.frame.intervals import Z95
from eval.frame.runner import Answer
from eval.order import Order, parse
from tests.clip_benchmarks import Scripted, options

MANY = 4000
Feature = Callable[[Clip], tuple[object, ...]]


def exchanged(clip: Clip) -> Clip:
    """The clip with its two frames exchanged: the other shape comes first."""
    first, second = clip.appearances
    return replace(clip, appearances=(replace(second, frame=first.frame), replace(first, frame=second.frame)))


def bag(frames: np.ndarray) -> Counter[bytes]:
    """What is left of a clip without its order."""
    return Counter(frame.tobytes() for frame in frames)


@pytest.mark.parametrize("frames", [2, 6, 24])
def test_every_clip_has_a_twin_of_the_same_frames_and_the_other_answer(frames: int) -> None:
    """So whoever is blind to order says the same of both, and is right of one at most; both are equally likely, which the next test sees."""
    clips = Clips("test", 50, frames=frames, world=World(visibility=(0.7, 1.0), grain=0.0))
    for clip in (clips.clip(index) for index in range(50)):
        twin = exchanged(clip)
        assert bag(clip.media.frames) == bag(twin.media.frames)
        assert clip.question == twin.question
        assert {clip.answer, twin.answer} == {seen.shape for seen in clip.appearances}


def seen(clip: Clip, *names: str) -> tuple[object, ...]:
    """What the frames show, in an order of its own: by shape."""
    return tuple(getattr(each, name) for each in sorted(clip.appearances, key=lambda each: each.shape) for name in ("shape", *names))


def more(clip: Clip, name: str) -> tuple[object, ...]:
    """The shapes, and which of them has more of something; of equals the first in the alphabet, not in time."""
    return (*seen(clip), max(clip.appearances, key=lambda each: (getattr(each, name), each.shape)).shape)


def initials(clip: Clip) -> tuple[object, ...]:
    return (*seen(clip), *(str(colour)[0] for colour in seen(clip, "colour")[1::2]))


@pytest.mark.parametrize("frames", [6, 24])
@pytest.mark.parametrize("feature", [
    lambda clip: seen(clip), lambda clip: seen(clip, "size"), initials, lambda clip: more(clip, "visibility"), lambda clip: more(clip, "top"),
    lambda clip: more(clip, "left")], ids=["shapes", "size", "colour", "visibility", "top", "left"])
def test_the_best_that_is_blind_to_order_is_right_half_of_the_time(feature: Feature, frames: int) -> None:
    """The majority answer for each thing that can be seen and each question, learnt on training clips, asked on test clips."""
    learnt: dict[tuple[object, ...], Counter[str]] = {}
    train, test = Clips("train", 3 * MANY, frames=frames), Clips("test", MANY, frames=frames)
    for clip in (train.clip(index) for index in range(3 * MANY)):
        learnt.setdefault((clip.asked, feature(clip)), Counter())[clip.answer] += 1
    right = 0
    for clip in (test.clip(index) for index in range(MANY)):
        votes = learnt.get((clip.asked, feature(clip)))
        right += (votes.most_common(1)[0][0] if votes else min(each.shape for each in clip.appearances)) == clip.answer
    assert right / MANY == pytest.approx(0.5, abs=1.5 * Z95 * np.sqrt(0.25 / MANY))


def test_order_is_told_from_shapes(tmp_path: Path) -> None:
    def alphabetical(item: Item) -> str:
        return min(item.row["shapes"])

    def third(item: Item) -> str:
        return next(shape for shape in SHAPES_IN_CLIPS if shape not in item.row["shapes"])

    knows = evaluate("order", Order(200, frames=24), Looking(lambda item: item.row["label"]), options(tmp_path / "knows"))
    blind = evaluate("order", Order(200), Looking(alphabetical), options(tmp_path / "blind"))
    lost = evaluate("order", Order(200), Looking(third), options(tmp_path / "lost"))
    values = [{name: score["value"] for name, score in result.scores.items()} for result in (knows, blind, lost)]
    assert set(values[0].values()) == {1.0}
    assert values[1]["named"] == 1.0
    assert values[1]["ordered"] == values[1]["accuracy"] == pytest.approx(0.5, abs=0.1)
    assert (values[2]["named"], values[2]["accuracy"], values[2]["ordered"]) == (0.0, 0.0, None)
    assert knows.settings["frames"] == 24


class Looking(Scripted):
    """Checks the clips it is shown: the two frames that differ most from the background are those of the shapes."""

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        for item in items:
            (media,) = item.media()
            assert media.frames.shape[0] in (6, 24)
            different = [int(np.abs(frame.astype(int) - 100).max(2).sum()) for frame in media.frames]
            assert set(item.row["frames"]) == set(np.argsort(different)[-2:].tolist())
        return [Answer(self.rule(item)) for item in items]


@pytest.mark.parametrize(("text", "shape"), [
    ("star", "star"), (" Star. ", "star"), ("the star", None), ("star star", None), ("", None), ("heart", None)])
def test_an_answer_is_one_shape(text: str, shape: str | None) -> None:
    assert parse(text) == shape
