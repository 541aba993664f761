"""Pictures of maps: sharp, honest about where the heat is, and read from whatever file they came in."""
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm.analysis import overlay, seen, side_by_side
from mm.media import load_image
from mm.vision import PadToSquare
from tests.vlms import toy

GREY = np.full((64, 64, 3), 120, np.uint8)


def hot(row: int, col: int) -> np.ndarray:
    heat = np.zeros((8, 8), np.float32)
    heat[row, col] = 0.02
    return heat


def test_a_small_picture_is_enlarged_by_whole_pixels() -> None:
    assert overlay(GREY, hot(0, 0)).size == (384, 384)
    assert overlay(np.zeros((30, 64, 3), np.uint8), hot(0, 0)).size == (384, 180)
    assert overlay(np.zeros((500, 400, 3), np.uint8), hot(0, 0)).size == (400, 500)


@pytest.mark.parametrize(("row", "col"), [(0, 0), (2, 5), (7, 7)])
def test_the_glow_is_where_the_heat_is(row: int, col: int) -> None:
    red = np.asarray(overlay(GREY, hot(row, col)))[..., 0].astype(float)
    cells = red.reshape(8, 48, 8, 48).mean((1, 3))
    assert np.unravel_index(cells.argmax(), cells.shape) == (row, col)


def test_an_even_spread_and_no_attention_at_all_glow_nowhere() -> None:
    for heat in (np.full((8, 8), 1 / 64), np.zeros((8, 8)), np.full((8, 8), np.nan)):
        assert np.asarray(overlay(GREY, heat)).std() == 0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"picture uint8 \[H, W, 3\]"):
        overlay(GREY.astype(np.float32), hot(0, 0))
    with pytest.raises(ValueError, match=r"heat \[rows, cols\]"):
        overlay(GREY, np.zeros((1, 8, 8)))


def test_panels_stand_side_by_side_in_one_height() -> None:
    assert side_by_side([Image.new("RGB", (40, 20)), Image.new("RGB", (40, 40))], gap=4).size == (64, 20)


def test_a_picture_file_is_read_upright_in_rgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    Image.new("RGB", (30, 20), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert load_image(tmp_path / "turned.jpg").shape == (30, 20, 3)
    Image.new("RGBA", (9, 9), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (load_image(tmp_path / "clear.png") == 255).all()
    Image.new("L", (9, 9), 7).save(tmp_path / "grey.png")
    assert (load_image(tmp_path / "grey.png") == 7).all()


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    for name, reason in (("none.png", "does not exist"), ("text.png", "is not a picture"), ("cut.png", "is damaged")):
        with pytest.raises(ValueError, match=reason) as caught:
            load_image(tmp_path / name)
        assert name in str(caught.value)


def test_the_map_lies_on_what_the_model_saw() -> None:
    vlm = toy()
    wide = np.random.default_rng(0).integers(0, 256, (10, 30, 3), dtype=np.uint8)
    assert seen(vlm, wide) is wide  # stretched as a whole, so the map stretches with it
    vlm.vision.resize = PadToSquare()
    assert seen(vlm, wide).shape == (16, 16, 3)
