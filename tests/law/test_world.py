"""Scenes of the embedded world: the same from the same seed everywhere, apart between splits, distributed as the law says."""
import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from torch.utils.data import DataLoader

from data.world import Scenes, World, blank_image, render
from data.world.draws import Draws
from data.world.render import object_mask
from data.world.sampling import HOME, TYPICAL
from data.world.scene import Scene
from data.world.shapes import all_masks
from data.world.splits import HELD_OUT, SPLITS
from data.world.vocabulary import COLOURS, RGB, SYNONYMS, WORDS


@pytest.mark.parametrize(("split", "hashes"), [
    ("train", ["961f181b0266a668", "62597462eaeb0543"]),
    ("test", ["9b161f6c009f0f38", "071b7bf991cf474f"]),
    ("systematic", ["025670b600a2d26a", "7f793f3884eac306"]),
    ("distractor", ["4aab0beb728f7840", "4abddb03fdefca55"]),
    ("productive", ["cc6b8f726ecaf583", "e86b30a5b591021b"])])
def test_a_seed_gives_the_same_scenes_for_ever(split: str, hashes: list[str]) -> None:
    scenes = Scenes(split, 10, seed=7)
    assert [scenes.scene(index).hash for index in (0, 3)] == hashes


def test_an_item_depends_on_its_index_only() -> None:
    short, long = Scenes(size=5), Scenes(size=50)
    forth, back = [short[i] for i in range(5)], [long[i] for i in reversed(range(5))][::-1]
    assert [item.turns for item in forth] == [item.turns for item in back]
    assert all(np.array_equal(a.media[0].frames, b.media[0].frames) for a, b in zip(forth, back, strict=True))


def test_asking_more_questions_changes_no_scene() -> None:
    assert Scenes(size=3, questions=0).scene(2) == Scenes(size=3, questions=8).scene(2)
    assert np.array_equal(Scenes(size=3, questions=0)[2].media[0].frames, Scenes(size=3)[2].media[0].frames)


def test_workers_share_the_items_out() -> None:
    scenes = Scenes(size=12, questions=2)
    loaded = list(DataLoader(scenes, batch_size=None, num_workers=2))
    assert [item.id for item in loaded] == [scenes.name(i) for i in range(12)]
    assert all(np.array_equal(item.media[0].frames, scenes[i].media[0].frames) for i, item in enumerate(loaded))


def test_splits_and_seeds_share_no_scene() -> None:
    hashes = [Scenes(split, 300, seed).scene(i).hash for split in SPLITS for seed in (0, 1) for i in range(300)]
    assert len(set(hashes)) == len(hashes)


def test_stream_names_do_not_collide() -> None:
    names = [(seed, split, item, purpose) for seed in range(4) for split in range(4) for item in range(4) for purpose in range(4)]
    assert len({Draws(*name).unit() for name in names}) == len(names)


def test_training_shows_no_held_out_pair_and_testing_does() -> None:
    train = {thing.pair for i in range(2000) for thing in Scenes(size=2000).scene(i).objects}
    test = {thing.pair for i in range(2000) for thing in Scenes("test", 2000).scene(i).objects}
    assert len(HELD_OUT) == 24
    assert not train & HELD_OUT
    assert test >= HELD_OUT


def test_distractor_scenes_hold_eight_objects_and_systematic_ones_a_new_pair() -> None:
    assert {len(Scenes("distractor", 50).scene(i).objects) for i in range(50)} == {8}
    assert all(HELD_OUT & {thing.pair for thing in Scenes("systematic", 50).scene(i).objects} for i in range(50))


def test_scenes_follow_the_law_of_the_world() -> None:
    scenes = [Scenes("test", 6000).scene(i) for i in range(6000)]
    contexts = Counter(scene.background.context for scene in scenes)
    counts = Counter(len(scene.objects) for scene in scenes)
    first = [(scene.objects[0], scene.background.context) for scene in scenes]  # no repeat and no retry yet: the plain mixture
    assert [contexts[z] / 6000 for z in range(4)] == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.02)
    assert [counts[n] / 6000 for n in range(2, 6)] == pytest.approx([0.25] * 4, abs=0.02)
    assert np.mean([thing.shape in HOME[z] for thing, z in first]) == pytest.approx(0.85 + 0.15 / 3, abs=0.02)
    assert np.mean([thing.colour == TYPICAL[thing.shape] for thing, _ in first]) == pytest.approx(0.4 + 0.6 / 8, abs=0.02)
    assert np.mean([thing.visibility for thing, _ in first]) == pytest.approx(0.675, abs=0.02)
    assert all(len({thing.cell for thing in scene.objects}) == len(scene.objects) for scene in scenes)


def test_shape_and_colour_marginals_are_those_of_the_law() -> None:
    first = [Scenes("test", 6000).scene(i).objects[0] for i in range(6000)]
    shapes, colours = Counter(thing.shape for thing in first), Counter(thing.colour for thing in first)
    for shape, typical in TYPICAL.items():
        expected = 0.15 / 12 + 0.85 * sum(p / 4 for p, home in zip(World().contexts, HOME, strict=True) if shape in home)
        assert shapes[shape] / 6000 == pytest.approx(expected, abs=0.02), shape
        assert typical in COLOURS
    for colour in COLOURS:
        expected = 0.6 / 8 + 0.4 * sum(shapes[shape] for shape, typical in TYPICAL.items() if typical == colour) / 6000
        assert colours[colour] / 6000 == pytest.approx(expected, abs=0.02), colour


def test_a_scene_survives_json() -> None:
    scene = Scenes("test", 9, world=World(jitter=2)).scene(8)
    assert Scene.of(json.loads(json.dumps(scene.describe()))) == scene


def test_masks_are_distinct_and_stay_in_their_cells() -> None:
    masks = all_masks()
    assert masks.shape == (12, 3, 16, 16)
    assert masks.min() == 0
    assert masks.max() == 1
    assert not masks[..., [0, -1], :].any()
    assert len({part.tobytes() for part in masks.reshape(36, -1)}) == 36


def test_a_picture_shows_each_object_where_the_scene_says() -> None:
    clear = World(visibility=(1.0, 1.0), grain=0.0)
    for i in range(40):
        scene = Scenes("test", 40, world=clear).scene(i)
        picture, empty = render(scene), render(scene, objects=False)
        covered = sum(object_mask(thing) for thing in scene.objects)
        assert picture.shape == (64, 64, 3)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture[covered == 0], empty[covered == 0])
        for thing in scene.objects:
            ink = picture[object_mask(thing) == 1]
            assert np.array_equal(ink, np.broadcast_to(RGB[COLOURS.index(thing.colour)], ink.shape))


def test_pixel_noise_is_that_of_the_scene_and_not_shared() -> None:
    one, other = Scenes(size=2).scene(0), Scenes(size=2).scene(1)
    assert np.array_equal(render(one), render(one))
    assert one.noise != other.noise
    still = render(Scenes(size=1, world=World(grain=0.0)).scene(0), objects=False).astype(int)
    noisy = render(one, objects=False).astype(int)
    assert (noisy - still).std() == pytest.approx(12, abs=0.3)
    assert (noisy - still).mean() == pytest.approx(0, abs=0.5)


def test_jitter_moves_objects_and_cuts_none_of_the_canvas() -> None:
    scenes = Scenes("distractor", 60, world=World(jitter=2))
    shifts = {thing.shift for i in range(60) for thing in scenes.scene(i).objects}
    assert shifts == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    assert all(render(scenes.scene(i)).shape == (64, 64, 3) for i in range(60))


def test_a_world_has_the_sizes_that_it_is_given_and_all_of_them_else() -> None:
    def scenes(world: World) -> list[Scene]:
        return [Scenes(world=world).scene(i) for i in range(60)]

    def sizes(world: World) -> set[int]:
        return {thing.size for scene in scenes(world) for thing in scene.objects}

    assert sizes(World()) == {0, 1, 2}
    assert sizes(World(sizes=(2,))) == {2}
    assert sizes(World(sizes=(0, 2))) == {0, 2}
    assert [scene.caption for scene in scenes(World(sizes=(2,)))] == [scene.caption for scene in scenes(World())]  # nothing else changes


def test_the_blank_image_is_black() -> None:
    assert blank_image().shape == (64, 64, 3)
    assert not blank_image().any()


def test_the_word_list_is_complete_and_has_no_word_twice() -> None:
    assert len(set(WORDS)) == len(WORDS)
    said = {word for split in SPLITS for item in (Scenes(split, 150)[i] for i in range(150)) for turn in item.turns
            for word in f"{turn.question} {turn.answer}".replace("<image>", "").split()}
    assert said <= set(WORDS)


def test_each_shape_has_synonyms_that_no_other_shape_has() -> None:
    words = [word for line in SYNONYMS for word in line.split(", ")]
    assert len(SYNONYMS) == 12
    assert len(set(words)) == len(words)
    assert {"disc", "box", "plus", "donut"} <= set(words)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Scenes("tset"), "has no split 'tset'"),
    (lambda: Scenes(size=-1), "0 or more; got -1"),
    (lambda: Scenes(questions=-1), "0 or more; got -1"),
    (lambda: Scenes(seed=2**32)[0], "choose a smaller seed"),
    (lambda: World(objects=(3, 17)), "1 to 16 objects"),
    (lambda: World(visibility=(0.0, 1.0)), "opacities"),
    (lambda: World(jitter=4), "leave their cells"),
    (lambda: World(sizes=()), "sizes are numbers from 0 to 2"),
    (lambda: World(sizes=(1, 1)), "sizes are numbers from 0 to 2"),
    (lambda: World(sizes=(3,)), "sizes are numbers from 0 to 2")])
def test_nonsense_is_refused_in_a_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_indexing_past_the_end_ends_a_loop() -> None:
    assert len(list(iter(Scenes(size=3)))) == 3  # type: ignore[call-overload]
