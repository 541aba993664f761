"""Episodes, clips and edit pairs: solvable, not solvable otherwise, and true to their ground truth."""
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from data.world import Clips, Edits, Episodes, World
from data.world.splits import HELD_OUT
from data.world.vocabulary import WORDS

MANY = 4000


def looks(scene: dict[str, Any]) -> dict[str, Any]:
    """What a picture of one object can be told apart by."""
    return {"context": scene["context"], **{key: scene["objects"][0][key] for key in ("colour", "shape", "size")}}


def solve(truth: dict[str, Any], labels: list[str]) -> str | None:
    """The query's label by whoever sees all: the rule of the one attribute that tells the labels of the pictures apart. None if they tell nothing."""
    shown = [looks(truth["demonstrations"][k]) for k in truth["shown"]]
    found = set()
    for key, value in looks(truth["query"]).items():
        meaning: dict[Any, set[str]] = {}
        for picture, label in zip(shown, labels, strict=True):
            meaning.setdefault(picture[key], set()).add(label)
        if len(meaning) == 2 and all(len(said) == 1 for said in meaning.values()) and len(set(map(min, meaning.values()))) == 2:
            found |= meaning.get(value, set())
    return found.pop() if len(found) == 1 else None


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_demonstrations_tell_every_label(split: str) -> None:
    episodes = Episodes(split, 400)
    for i in range(len(episodes)):
        truth = episodes.truth(i)
        assert solve(truth, [shown["label"] for shown in truth["demonstrations"]]) == truth["answer"]


def test_episodes_use_every_rule_and_length() -> None:
    truths = [Episodes("test", 400).truth(i) for i in range(400)]
    assert {truth["attribute"] for truth in truths} == {"colour", "shape", "size", "context"}
    assert {len(truth["demonstrations"]) for truth in truths} == {2, 4}
    assert all(set(Counter(shown["label"] for shown in truth["demonstrations"]).values()) == {len(truth["demonstrations"]) // 2} for truth in truths)


def test_copying_the_last_or_the_first_label_is_right_half_of_the_time() -> None:
    episodes = [Episodes("test", MANY).episode(i) for i in range(MANY)]
    for place in (0, -1):
        assert np.mean([episode.demonstrations[place].label == episode.answer for episode in episodes]) == pytest.approx(0.5, abs=0.02)


def test_no_word_and_no_value_is_right_more_often() -> None:
    episodes = [Episodes("test", MANY).episode(i) for i in range(MANY)]
    said = Counter(word for episode in episodes for word in episode.rule.values())
    right = Counter(episode.answer for episode in episodes)
    assert all(right[word] / said[word] == pytest.approx(0.5, abs=0.06) for word in said)


def test_shuffled_pictures_leave_the_solver_at_half() -> None:
    episodes = Episodes("test", 1500, control="shuffled")
    truths = [episodes.truth(i) for i in range(len(episodes))]
    solved = [solve(truth, [shown["label"] for shown in truth["demonstrations"]]) for truth in truths]
    score = np.mean([0.5 if label is None else label == truth["answer"] for label, truth in zip(solved, truths, strict=True)])
    assert score == pytest.approx(0.5, abs=0.03)


def test_blank_demonstrations_are_black_and_their_words_stay() -> None:
    plain, blank = Episodes("test", 20)[7], Episodes("test", 20, control="blank")[7]
    assert plain.turns == blank.turns
    assert not any(media.frames.any() for media in blank.media[:-1])
    assert np.array_equal(plain.media[-1].frames, blank.media[-1].frames)


def test_wordless_demonstrations_keep_their_pictures() -> None:
    plain, wordless = Episodes("test", 20)[7], Episodes("test", 20, control="wordless")[7]
    assert wordless.turns[0].question == "<image>\n" * (len(plain.media) - 1) + "<image>\nlabel ?"
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(plain.media, wordless.media, strict=True))


def test_shuffling_permutes_pictures_and_nothing_else() -> None:
    plain, shuffled = Episodes("test", 60), Episodes("test", 60, control="shuffled")
    moved = 0
    for i in range(60):
        order = shuffled.episode(i).shown
        moved += order != tuple(range(len(order)))
        assert plain[i].turns == shuffled[i].turns
        assert all(np.array_equal(shuffled[i].media[place].frames, plain[i].media[k].frames) for place, k in enumerate(order))
    assert moved > 20


def test_one_placeholder_stands_for_each_medium() -> None:
    for sample in (Episodes(size=9)[8], Edits(size=9)[8], Clips(size=9)[8]):
        text = " ".join(turn.question for turn in sample.turns)
        assert text.count("<image>") + text.count("<video>") == len(sample.media)
        assert set(text.replace("<image>", "").replace("<video>", "").split()) <= set(WORDS)


def test_clip_answers_follow_from_the_frames() -> None:
    clips = Clips("test", 300, world=World(visibility=(1.0, 1.0), grain=0.0))
    for i in range(len(clips)):
        truth, frames = clips.truth(i), clips[i].media[0].frames
        marked = [t for t in range(6) if (frames[t] != 100).any()]
        assert frames.shape == (6, 32, 32, 3)
        assert marked == [seen["frame"] for seen in truth["appearances"]]
        assert truth["answer"] == truth["appearances"][1 if "second" in truth["question"] else 0]["shape"]


def test_whoever_does_not_know_the_order_answers_half_of_the_clips() -> None:
    clips = [Clips("test", MANY).clip(i) for i in range(MANY)]
    shapes = sorted({seen.shape for clip in clips for seen in clip.appearances})
    assert len(shapes) == 6
    for asked in (0, 1):  # the two shapes are an unordered pair: guess by any fixed preference among them
        guesses = [min(seen.shape for seen in clip.appearances) == clip.answer for clip in clips if clip.asked == asked]
        assert np.mean(guesses) == pytest.approx(0.5, abs=0.03)
    assert np.mean([clip.asked for clip in clips]) == pytest.approx(0.5, abs=0.02)
    assert max(Counter(clip.answer for clip in clips).values()) / MANY == pytest.approx(1 / 6, abs=0.02)


@pytest.mark.parametrize("split", ["train", "test"])
def test_edits_change_one_word_and_only_pixels_under_the_mask(split: str) -> None:
    edits = Edits(split, 150)
    for i in range(len(edits)):
        edit = edits.edit(i)
        before, after = edit.images
        changed = (before != after).any(-1)
        old, new = edit.before.caption.split(), edit.after.caption.split()
        differ = [(a, b) for a, b in zip(old, new, strict=True) if a != b and {a, b} != {"a", "an"}]
        assert differ == [edit.words]
        assert changed.any()
        assert not changed[edit.mask == 0].any()


def test_edits_change_colours_and_shapes_and_training_stays_clear_of_held_out_pairs() -> None:
    edits = [Edits("train", 400).edit(i) for i in range(400)]
    assert Counter(edit.attribute for edit in edits)["colour"] == pytest.approx(200, abs=40)
    assert not {thing.pair for edit in edits for thing in (*edit.before.objects, *edit.after.objects)} & HELD_OUT


@pytest.mark.parametrize("view", [Episodes, Clips, Edits])
def test_views_are_functions_of_their_index_and_their_truth_is_json(view: type) -> None:
    one, other = view("test", 5, 1), view("test", 50, 1)
    assert json.loads(json.dumps(one.truth(4))) == json.loads(json.dumps(other.truth(4)))
    assert one[4].turns == other[4].turns
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(one[4].media, other[4].media, strict=True))
    assert len({json.dumps(view(split, 9, seed).truth(i)) for split in ("train", "test") for seed in (0, 1) for i in range(9)}) == 36


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Episodes(demos=(3,)), "even numbers"),
    (lambda: Episodes(control="blanc"), "no control 'blanc'"),
    (lambda: Clips(frames=1), "2 or more")])
def test_nonsense_is_refused_in_a_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
