"""Every picture comes out upright, RGB and with the colours that its maker saw."""
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm.media.errors import BrokenMedia
from mm.media.images import Limits, load_image
from tests.photos import animation, jpeg, paint, photographs, png

PHOTOGRAPHS = photographs()


def same(found: np.ndarray, expected: Image.Image, atol: float = 2.0) -> None:
    """Equal on average to `atol` of 255 levels, which JPEG's own loss stays below and a wrong colour or side does not."""
    wanted = np.asarray(expected.convert("RGB"))
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted.astype(int)).mean() <= atol


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_looks_as_it_should(name: str, tmp_path: Path) -> None:
    content, seen = PHOTOGRAPHS[name]
    (tmp_path / name).write_bytes(content)
    same(load_image(tmp_path / name), seen, atol=0 if name.endswith(("png", "gif", "webp")) else 2)


def test_the_photographs_differ_in_what_makes_pictures_hard() -> None:
    opened = {name: Image.open(io.BytesIO(content)) for name, (content, _) in PHOTOGRAPHS.items()}
    assert {image.mode for image in opened.values()} >= {"RGB", "RGBA", "LA", "P", "CMYK", "I;16"}
    assert {name for name, image in opened.items() if getattr(image, "n_frames", 1) > 1} == {"wave.gif", "wave.webp"}
    assert ["adobe" in opened[name].info for name in ("print_shop.jpg", "plain_print.jpg")] == [True, False]
    assert opened["web.jpg"].info["progressive"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_taken_in_any_of_eight_orientations_is_upright(orientation: int) -> None:
    image = paint(81, 57)
    same(load_image(jpeg(image, orientation)), image)


def test_an_upright_picture_is_turned_after_it_is_reduced() -> None:
    assert load_image(jpeg(paint(400, 96), 6), Limits(max_side=50)).shape == (12, 50, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_unreadable_exif_does_not_cost_the_picture() -> None:
    image = paint(40, 30)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    same(load_image(out.getvalue()), image)


def test_a_tiff_is_turned_once() -> None:
    image, exif, out = paint(40, 30), Image.Exif(), io.BytesIO()
    exif[274] = 8
    image.transpose(Image.Transpose.ROTATE_270).save(out, "TIFF", exif=exif)
    same(load_image(out.getvalue()), image, atol=0)


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken(format: str) -> None:
    image = paint(40, 30).quantize(64).convert("RGB")
    same(load_image(animation(image, format)), image, atol=0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_is_read(mode: str) -> None:
    image = paint(40, 30).convert(mode)
    out = io.BytesIO()
    image.save(out, {"CMYK": "TIFF", "YCbCr": "TIFF"}.get(mode, "PNG"))
    same(load_image(out.getvalue()), image, atol=0)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    assert load_image(png(Image.new("RGBA", (8, 8), (0, 0, 0, 128))))[0, 0].tolist() == [127, 127, 127]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = np.tile(np.array([0, 128, 129, 32768, 65407, 65535], np.uint16).repeat(8), (8, 1))
    assert load_image(png(Image.fromarray(levels)))[0, ::8, 0].tolist() == [0, 0, 1, 128, 255, 255]


def test_sixteen_bit_grey_map_is_read_alike() -> None:
    levels = np.full((8, 8), 32896, ">u2")
    assert np.unique(load_image(b"P5 8 8 65535\n" + levels.tobytes())).tolist() == [128]


def test_pixels_without_a_defined_white_are_refused() -> None:
    out = io.BytesIO()
    Image.new("F", (16, 16), 0.5).save(out, "TIFF")
    with pytest.raises(BrokenMedia, match=r"depth\.tif holds floating-point pixels"):
        load_image(out.getvalue(), name="depth.tif")


@pytest.mark.parametrize("content", [jpeg(paint(1000, 600)), png(paint(1000, 600)), jpeg(paint(1000, 600), progressive=True)])
def test_a_long_side_is_reduced_in_proportion(content: bytes) -> None:
    same(load_image(content, Limits(max_side=100)), paint(100, 60), atol=3)


def test_limits_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="min_side <= max_side"):
        Limits(min_side=100, max_side=10)
