"""Questions of the world: true as labelled, balanced, silent on held-out pairs."""
import re
from collections import Counter, defaultdict

import pytest

from data.world import Mix, Scenes, question_set
from data.world.questions import TASKS
from data.world.splits import HELD_OUT, SPLITS
from data.world.vocabulary import COLOURS, SHAPES
from tests.oracle import answer

EVERYTHING = Mix(1, 1, 1, 1, 1, 1)


def pairs_named(text: str) -> set[tuple[str, str]]:
    """Colour-shape pairs in a question's words."""
    named = {(shape, colour) for colour, shape in re.findall(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})", text)}
    return named | set(re.findall(rf"the ({'|'.join(SHAPES)}) ({'|'.join(COLOURS)})", text))


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_follows_from_the_scene(split: str) -> None:
    scenes = Scenes(split, 400, seed=3, mix=EVERYTHING)
    for i in range(len(scenes)):
        truth = scenes.truth(i)
        for question in scenes[i].turns[1:]:
            assert question.answer == answer(question.question, truth), (question, truth)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_test_question_is_true_as_labelled_and_half_are_yes(split: str, task: str) -> None:
    scenes = Scenes(split, 150, seed=3)
    rows = question_set(scenes, task)
    assert rows
    assert sum(row.question.truth for row in rows) * 2 == len(rows)
    assert all(row.question.answer == answer(row.question.text, scenes.truth(row.scene)) for row in rows)


def test_every_kind_is_yes_half_of_the_time() -> None:
    scenes = Scenes(size=5000, mix=EVERYTHING)
    labels = defaultdict(list)
    for i in range(len(scenes)):
        for question in scenes.item(i)[1]:
            labels[question.task].append(question.truth)
    assert set(labels) == set(TASKS)
    for task, truths in labels.items():
        assert abs(sum(truths) / len(truths) - 0.5) < 0.02, task


def test_a_number_word_says_nothing_about_the_answer() -> None:
    rows = question_set(Scenes("test", 3000), "number") + question_set(Scenes("test", 3000, seed=1), "number")
    said = Counter((row.question.text.split()[2], row.question.truth) for row in rows)
    for word in ("one", "two"):
        assert abs(said[word, True] / (said[word, True] + said[word, False]) - 0.5) < 0.02, word


def test_direction_words_say_nothing_about_the_answer() -> None:
    said = Counter((row.question.text.split()[3], row.question.truth) for row in question_set(Scenes("test", 3000), "relation"))
    for word in ("left", "right", "above", "below"):
        assert abs(said[word, True] / (said[word, True] + said[word, False]) - 0.5) < 0.05, word


def test_the_mix_holds_over_the_data_set() -> None:
    scenes = Scenes(size=3000)
    asked = Counter(question.task for i in range(len(scenes)) for question in scenes.item(i)[1])
    for task, share in Mix().shares().items():
        assert asked[task] / asked.total() == pytest.approx(share, abs=0.01), task
    assert asked.total() == 8 * len(scenes)


def test_training_never_names_a_held_out_pair() -> None:
    scenes = Scenes(size=1500, mix=EVERYTHING)
    assert not {pair for i in range(len(scenes)) for turn in scenes[i].turns for pair in pairs_named(f"{turn.question} {turn.answer}")} & HELD_OUT


@pytest.mark.parametrize("task", ["pair", "attribute"])
def test_the_systematic_split_names_held_out_pairs_only(task: str) -> None:
    named = [pairs_named(row.question.text) for row in question_set(Scenes("systematic", 300), task)]
    assert all(len(pairs) == 1 and pairs <= HELD_OUT for pairs in named)


def test_absent_shapes_are_asked_for_evenly() -> None:
    scenes = Scenes(size=4000, mix=Mix.only("existence"), questions=4)
    asked: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for i in range(len(scenes)):
        scene, questions = scenes.item(i)
        absent = set(SHAPES) - set(scene.present)
        for question in questions:
            if not question.truth:
                asked[question.text.split()[3]] += 1
                expected.update(dict.fromkeys(absent, 1 / len(absent)))
    assert all(asked[shape] == pytest.approx(expected[shape], rel=0.15) for shape in SHAPES)


def test_conjunctions_have_two_or_three_terms_and_one_wrong_one() -> None:
    scenes = Scenes("productive", 400)
    rows = question_set(scenes, "conjunction")
    assert {row.question.text.count(" and ") for row in rows} == {1, 2}
    for row in rows:
        pairs = pairs_named(row.question.text)
        there = {thing.pair for thing in scenes.scene(row.scene).objects}
        assert len(pairs - there) == (0 if row.question.truth else 1)


def test_mostly_a_false_pair_is_the_right_shape_in_another_colour() -> None:
    scenes = Scenes("test", 1500)
    kept = [next(iter(pairs_named(row.question.text)))[0] in scenes.scene(row.scene).present
            for row in question_set(scenes, "pair") if not row.question.truth]
    assert 0.6 < sum(kept) / len(kept) < 0.8  # 0.6, and chance hits a present shape among the rest


def test_a_scene_is_not_asked_the_same_twice_while_there_is_something_else() -> None:
    scenes = Scenes(size=300)
    texts = [[question.text for question in scenes.item(i)[1]] for i in range(len(scenes))]
    assert sum(len(set(asked)) for asked in texts) > 0.95 * sum(map(len, texts))


def test_a_scene_that_can_host_nothing_of_the_mix_has_its_caption_only() -> None:
    scenes = Scenes(size=200, mix=Mix.only("number"))
    assert {len(scenes[i].turns) for i in range(len(scenes))} == {1, 9}


def test_turns_carry_weight_and_task() -> None:
    turns = Scenes(size=1, caption_weight=0.25)[0].turns
    assert (turns[0].weight, turns[0].task, turns[0].question) == (0.25, "caption", "<image>\ndescribe the image .")
    assert all(turn.weight == 1 and turn.task in TASKS for turn in turns[1:])


def test_an_unknown_kind_or_an_empty_mix_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="no question kind 'colour'"):
        question_set(Scenes(size=1), "colour")
    with pytest.raises(ValueError, match="not all zero"):
        Mix(0, 0, 0, 0, 0, 0)
