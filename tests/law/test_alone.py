"""One question a row."""
import pytest

from data.alone import Alone
from data.world import Scenes


def test_every_turn_becomes_a_row_with_its_picture() -> None:
    scenes = Scenes(size=3, questions=4)
    alone = Alone(scenes, turns=5)
    assert len(alone) == 15
    for index in range(len(alone)):
        whole, row = scenes[index // 5], alone[index]
        place = index % 5 % len(whole.turns)
        assert row.turns[0].question == whole.turns[0].question if place == 0 else f"<image>\n{whole.turns[place].question}"
        assert row.turns[0].answer == whole.turns[place].answer
        assert row.turns[0].weight == whole.turns[place].weight
        assert (row.media[0].frames == whole.media[0].frames).all()
    assert len({row.id for row in map(alone.__getitem__, range(15))}) == 15


def test_a_sample_with_fewer_turns_repeats_them() -> None:
    alone = Alone(Scenes(size=1, questions=0), turns=2)
    assert alone[0].turns == alone[1].turns


def test_rows_of_no_turn_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Alone(Scenes(size=1), turns=0)
