"""A recipe with a local blend looks at the words of each request."""
from collections.abc import Sequence

import numpy as np

from eval.edits.editor import Edited, Editor, Request
from eval.edits.local import PerWords, worded
from eval.frame.benchmark import Row
from tests.edits import Made

RECIPE: Row = {"name": "blend", "steps": 25, "edits": [
    "mm.diffusion.Replace", {"class_path": "mm.diffusion.LocalBlend", "init_args": {"words": ["cat", "dog"], "start_blend": 0.0}}]}


def test_words_of_a_local_blend_are_the_request_s() -> None:
    assert worded(RECIPE, ("red", "blue"))["edits"] == [
        "mm.diffusion.Replace", {"class_path": "mm.diffusion.LocalBlend", "init_args": {"words": ["red", "blue"], "start_blend": 0.0}}]
    assert worded({"edits": ["mm.diffusion.LocalBlend"]}, ("a", "b"))["edits"] == [
        {"class_path": "mm.diffusion.LocalBlend", "init_args": {"words": ["a", "b"]}}]
    assert RECIPE["edits"][1]["init_args"]["words"] == ["cat", "dog"]


def test_without_words_nothing_is_blended_and_without_blend_nothing_changes() -> None:
    assert worded(RECIPE, ())["edits"] == ["mm.diffusion.Replace"]
    plain = {"edits": ["mm.diffusion.Replace"], "steps": 3}
    assert worded(plain, ("a", "b")) == worded(plain, ()) == plain
    assert worded({"steps": 3}, ("a", "b")) == {"steps": 3}


def test_requests_of_the_same_words_go_together_and_edits_keep_their_order() -> None:
    made: list[tuple[Row, int]] = []

    def make(content: Row) -> Editor:
        def edit(requests: Sequence[Request], /) -> list[Edited]:
            made.append((content, len(requests)))
            pixels = [np.full((4, 4, 3), request.seed, np.uint8) for request in requests]
            return [Made(each, each, each) for each in pixels]

        return edit

    requests = [Request("a", "b", None, seed, words) for seed, words in enumerate([("x", "y"), (), ("x", "y"), ("z", "y")])]
    found = PerWords(RECIPE, make)(requests)
    assert [int(edit.edited[0, 0, 0]) for edit in found] == [0, 1, 2, 3]
    assert [(len(content["edits"]), count) for content, count in made] == [(2, 2), (1, 1), (2, 1)]
    assert all("name" not in content for content, _ in made)
    made.clear()
    PerWords({"name": "plain", "edits": ["mm.diffusion.Replace"]}, make)(requests)
    assert [count for _, count in made] == [4]
