"""Captions and object lists of recorded scenes."""
from typing import Any

import pytest

from data.world.scene import Background, Scene, SceneObject, caption
from tests.golden import load

RECORDED = load("evaluation", "scenes").scenes


def objects(record: dict[str, Any]) -> tuple[SceneObject, ...]:
    return tuple(SceneObject(*thing) for thing in record["objs"])


@pytest.mark.parametrize("record", RECORDED, ids=range(len(RECORDED)))
def test_caption_equals_the_recorded_one(record: dict[str, Any]) -> None:
    assert caption(objects(record)) == record["caption"]


@pytest.mark.parametrize("record", RECORDED, ids=range(len(RECORDED)))
def test_object_list_equals_the_recorded_one(record: dict[str, Any]) -> None:
    assert list(Scene(Background(record["z"], 0.3, 0.0, (0, 0, 0)), objects(record), 12.0, 0).present) == record["present"]
