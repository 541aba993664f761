"""The world's edit benchmark with editors that are known to be right, wrong or careless."""
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.world.edits import Edit, Edits
from data.world.sampling import World
from data.world.scene import Scene, SceneObject
from eval.edits.editor import Request
from eval.edits.judging import judge
from eval.edits.table import world_tables
from eval.edits.world import Arm, Kind, Pair, WorldBenchmark, pairs
from eval.frame.journal import Mismatch
from tests.edits import Made, Oracle, Scripted, perfect

STILL = World(objects=(2, 2), visibility=(1.0, 1.0), grain=0.0)  # without noise, so that pictures differ where they mean to
DATA = Edits("test", 60, world=STILL)


@pytest.fixture(scope="module")
def colours() -> list[Pair]:
    return pairs("colour", 4, DATA)


def benchmark(out: Path, asked: dict[Kind, list[Pair]], oracle: Oracle, overwrite: bool = False) -> WorldBenchmark:
    return WorldBenchmark(asked, oracle, {"split": "test"}, {"model": "fake"}, out, batch_size=3, overwrite=overwrite)


def moved(edit: Edit) -> Scene:
    """Right in every word, and all of it elsewhere."""
    return replace(edit.after, objects=tuple(replace(thing, cell=(thing.cell + 8) % 16) for thing in edit.after.objects))


def clock() -> float:
    return 0.0


def test_pairs_are_of_one_kind_and_name_their_object() -> None:
    for kind in ("colour", "shape"):
        found = pairs(kind, 6, Edits("test", 60))
        assert {pair.edit.attribute for pair in found} == {kind}
        assert len({pair.id for pair in found}) == 6
        assert [pair.id for pair in pairs(kind, 3, Edits("test", 60))] == [pair.id for pair in found[:3]]
        for pair in found:
            old, new = pair.edit.words
            before, after = pair.prompt.split(), pair.to.split()
            assert (before.count(old), after.count(new)) == (1, 1)
            assert [word for word in before if word not in ("a", "an", old)] == [word for word in after if word not in ("a", "an", new)]
    with pytest.raises(ValueError, match="got 'size' and 3"):
        pairs("size", 3, DATA)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of 64 edits of the kind shape among 60 items of the test split"):
        pairs("shape", 64, DATA)


def test_a_perfect_edit_is_perfect_and_a_careless_one_is_not(colours: list[Pair]) -> None:
    oracle = Oracle()
    for edit in (pair.edit for pair in colours):
        found = judge(oracle.drawn(edit.before), oracle.drawn(edit.after), edit, oracle)
        assert found == {"source_right": True, "edit_recognised": True, "other_kept": 1.0, "other_mse": 0.0, "background_mse": 0.0, "target_iou": 1.0,
                         "recoloured": 1.0}
        nothing = judge(oracle.drawn(edit.before), oracle.drawn(edit.before), edit, oracle)
        assert (nothing["edit_recognised"], nothing["other_kept"], nothing["target_iou"], nothing["recoloured"]) == (False, 1.0, 1.0, 0.0)
        elsewhere = judge(oracle.drawn(edit.before), oracle.drawn(moved(edit)), edit, oracle)
        assert (elsewhere["edit_recognised"], elsewhere["other_kept"]) == (True, 0.0)
        assert elsewhere["target_iou"] == 0
        assert elsewhere["other_mse"] > 0.001


def test_a_wrong_source_is_not_judged(colours: list[Pair]) -> None:
    oracle, edit = Oracle(), colours[0].edit
    assert judge(oracle.drawn(edit.after), oracle.drawn(edit.after), edit, oracle) == {"source_right": False}
    with pytest.raises(ValueError, match="one size"):
        judge(oracle.drawn(edit.before), np.zeros((8, 8, 3), np.uint8), edit, oracle)


def test_a_source_with_one_object_more_is_wrong(colours: list[Pair]) -> None:
    oracle, edit = Oracle(), colours[0].edit
    free = next(cell for cell in range(16) if cell not in {thing.cell for thing in edit.before.objects})
    more = replace(edit.before, objects=(*edit.before.objects, replace(edit.before.objects[0], cell=free)))
    assert judge(oracle.drawn(more), oracle.drawn(edit.after), edit, oracle) == {"source_right": False}


@pytest.mark.parametrize(("cells", "right"), [((5, 6), True), ((5, 10), True), ((9, 6), True), ((6, 5), False), ((5, 9), False), ((9, 5), False)],
                         ids=str)
def test_a_source_lies_as_its_caption_says(cells: tuple[int, int], right: bool) -> None:
    oracle, scene = Oracle(), colour_swap((5, 6)).before
    drawn = replace(scene, objects=tuple(replace(thing, cell=cell) for thing, cell in zip(scene.objects, cells, strict=True)))
    assert judge(oracle.drawn(drawn), oracle.drawn(scene), colour_swap((5, 6)), oracle)["source_right"] is right


@pytest.mark.parametrize(("cells", "right"), [((5, 9), True), ((6, 10), True), ((9, 5), False), ((5, 10), False), ((5, 6), False)], ids=str)
def test_a_source_has_above_what_its_caption_has_above(cells: tuple[int, int], right: bool) -> None:
    oracle, scene = Oracle(), colour_swap((5, 9)).before
    drawn = replace(scene, objects=tuple(replace(thing, cell=cell) for thing, cell in zip(scene.objects, cells, strict=True)))
    assert judge(oracle.drawn(drawn), oracle.drawn(scene), colour_swap((5, 9)), oracle)["source_right"] is right


def test_what_another_object_is_already_counts_as_no_edit() -> None:
    oracle, edit = Oracle(), colour_swap((5, 6), "circle", "circle")
    assert edit.after.objects[0].pair == edit.before.objects[1].pair
    assert not judge(oracle.drawn(edit.before), oracle.drawn(edit.before), edit, oracle)["edit_recognised"]
    assert judge(oracle.drawn(edit.before), oracle.drawn(edit.after), edit, oracle)["edit_recognised"]


def colour_swap(cells: tuple[int, int], *shapes: str) -> Edit:
    """The first of two objects, red and blue, turns blue; under a caption of their relation."""
    scene = Edits("test", 1, world=STILL).edit(0).before
    names = shapes or ("circle", "square")
    things = [SceneObject(shape, colour, cell, 1, 1.0) for shape, colour, cell in zip(names, ("red", "blue"), cells, strict=True)]
    before = replace(scene, objects=tuple(things))
    return Edit(before, before.with_object(0, replace(things[0], colour="blue")), 0, "colour", "relation")


def test_an_object_alone_has_no_others_and_an_empty_picture_no_target() -> None:
    oracle = Oracle()
    edit = pairs("shape", 1, Edits("test", 9, world=replace(STILL, objects=(1, 1))))[0].edit
    found = judge(oracle.drawn(edit.before), oracle.drawn(replace(edit.after, objects=())), edit, oracle)
    assert (found["other_kept"], found["other_mse"], found["target_iou"], found["recoloured"]) == (None, None, 0.0, None)
    assert found["background_mse"] == 0


def test_the_benchmark_has_a_row_without_control_and_one_a_recipe(colours: list[Pair], tmp_path: Path) -> None:
    oracle, shapes = Oracle(), pairs("shape", 3, DATA)
    editor = perfect(oracle, [*colours, *shapes], moved)
    arms = [Arm("cross .8", {"name": "cross .8"}, editor), Arm("blend", {"name": "blend"}, editor)]
    results = benchmark(tmp_path, {"colour": colours, "shape": shapes}, oracle).run(arms, clock)
    assert [(result.benchmark, result.recipe["name"]) for result in results] == [
        (f"world/{kind}", name) for kind in ("colour", "shape") for name in ("no control", "cross .8", "blend")]
    assert results[0].scores["target_iou"]["value"] == 0
    assert results[1].scores["target_iou"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 4}
    assert results[1].scores["gain/target_iou"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 4}
    assert results[1].scores["gain/other_mse"]["value"] == -results[0].scores["other_mse"]["value"] < 0
    assert results[4].scores["recoloured"]["value"] is None
    assert "gain/recoloured" not in results[4].scores
    assert json.loads((tmp_path / "colour/no-control.json").read_text())["n"] == 4
    rows = [json.loads(line) for line in (tmp_path / "colour/cross-.8.rows.jsonl").read_text().splitlines()]
    home = tmp_path / "colour/cross-.8"
    assert all((home / path).is_file() for row in rows for path in (*row["files"]["maps"].values(), row["files"]["mask"], row["files"]["edited"]))
    assert list(rows[0]["files"]["maps"]) == rows[0]["words"]
    text = world_tables(results)
    assert "Colour swaps, 4 pairs" in text
    assert "| cross .8 | 1.00 [0.51, 1.00] | 1.00 [0.51, 1.00] | 1.00 [1.00, 1.00] |" in text
    assert "new colour" not in text.split("Shape swaps")[1]


def test_what_is_done_is_not_done_again_and_ends_in_the_same_bytes(colours: list[Pair], tmp_path: Path) -> None:
    oracle = Oracle()
    whole = perfect(oracle, colours)
    benchmark(tmp_path / "whole", {"colour": colours}, oracle).run([Arm("swap", {"name": "swap"}, whole)], clock)

    def killed(request: Request) -> Made:
        if request.seed == colours[3].seed:
            raise KeyboardInterrupt
        return whole.make(request)

    with pytest.raises(KeyboardInterrupt):
        benchmark(tmp_path / "part", {"colour": colours}, oracle).run([Arm("swap", {"name": "swap"}, Scripted(killed))], clock)
    with (tmp_path / "part/colour/swap/edits.jsonl").open("ab") as file:
        file.write(b'{"batch": 1, "rows": [{"id"')  # as a kill leaves it
    again = perfect(oracle, colours)
    benchmark(tmp_path / "part", {"colour": colours}, oracle).run([Arm("swap", {"name": "swap"}, again)], clock)
    assert [request.seed for request in again.asked] == [colours[3].seed]
    for name in ("swap.json", "swap.rows.jsonl", "no-control.json", "swap/edits.jsonl"):
        assert (tmp_path / "part/colour" / name).read_bytes() == (tmp_path / "whole/colour" / name).read_bytes()
    with pytest.raises(Mismatch, match="recipe was"):
        benchmark(tmp_path / "part", {"colour": colours}, oracle).run([Arm("swap", {"name": "swap", "cross": 0.2}, again)], clock)
    benchmark(tmp_path / "part", {"colour": colours}, oracle, overwrite=True).run([Arm("swap", {"name": "swap", "cross": 0.2}, again)], clock)
    assert len(again.asked) == 1 + 4


def test_pictures_that_are_none_stop_the_run(colours: list[Pair], tmp_path: Path) -> None:
    odd = np.full((64, 64, 3), np.nan, np.float32)
    editor = Scripted(lambda request: Made(odd, odd, odd))
    with pytest.raises(ValueError, match=r"item edit-test-0-\d+: the editor's source picture is float32 .* not finite"):
        benchmark(tmp_path, {"colour": colours[:1]}, Oracle()).run([Arm("swap", {"name": "swap"}, editor)], clock)
