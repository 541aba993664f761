"""The world written to files and read as the user's own data is the world."""
from collections.abc import Callable
from pathlib import Path

import pytest

from data.llava import Conversations
from data.world.clips import Clips
from data.world.dataset import Scenes
from data.world.edits import Edits
from data.world.episodes import Episodes
from data.world.export import export
from data.world.view import View
from tests.samples import same

VIEWS: dict[str, Callable[[], View]] = {
    "scenes": lambda: Scenes("train", 6, seed=3), "episodes": lambda: Episodes("test", 4), "clips": lambda: Clips("test", 4),
    "edits": lambda: Edits("val", 4)}


@pytest.mark.parametrize("name", VIEWS)
def test_an_exported_sample_is_the_generated_one(name: str, tmp_path: Path) -> None:
    generated = VIEWS[name]()
    read = Conversations(str(export(generated, tmp_path / "out")))
    assert len(read) == len(generated)
    assert all(same(a, b) for a, b in zip(read, (generated[i] for i in range(len(generated))), strict=True))
