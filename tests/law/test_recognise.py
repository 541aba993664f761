"""The recogniser that judges drawn pictures is right on true ones, also where they were shifted, blurred or coded."""
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from data.world import Edits, World, render
from data.world.recognise import Found, recognise
from data.world.scene import Scene
from mm.diffusion import PatchCodec

PLAIN = World(objects=(2, 2), visibility=(1.0, 1.0), grain=0.0, repeat=0.0, home=0.3)
NEAR = World(objects=(2, 2), visibility=(1.0, 1.0), grain=0.0, repeat=0.0, home=0.3, cells=(5, 6, 9, 10))


def said(found: list[Found]) -> list[tuple[str, str, int]]:
    return sorted((thing.shape, thing.colour, round((thing.row - 7.5) / 16) * 4 + round((thing.col - 7.5) / 16)) for thing in found)


def truth(scene: Scene) -> list[tuple[str, str, int]]:
    return sorted((thing.shape, thing.colour, thing.cell) for thing in scene.objects)


def scenes(count: int) -> list[Scene]:
    return [Edits("val", count, world=PLAIN).edit(index).before for index in range(count)]


def test_true_pictures_are_read_without_error() -> None:
    for scene in scenes(60):
        found = recognise(render(scene), 2)
        assert said(found) == truth(scene)
        assert min(thing.clarity for thing in found) > 0.9
        assert len(recognise(render(scene))) == 2


def test_masks_sizes_and_places_are_those_of_the_scene() -> None:
    scene = scenes(1)[0]
    for found, thing in zip(sorted(recognise(render(scene), 2), key=lambda one: (one.row, one.col)), sorted(scene.objects, key=lambda one: one.cell),
                            strict=True):
        assert found.size == thing.size
        assert (found.row, found.col) == (thing.row * 16 + 7.5, thing.col * 16 + 7.5)
        assert found.mask.shape == (64, 64)
        assert found.mask.max() == 1


def test_grain_and_blur_are_forgiven() -> None:
    rng, right = np.random.default_rng(0), 0
    for scene in scenes(30):
        soft = Image.fromarray(render(scene)).filter(ImageFilter.GaussianBlur(0.6))
        noisy = (np.asarray(soft) + rng.normal(0, 8, (64, 64, 3))).clip(0, 255).astype(np.uint8)
        right += said(recognise(noisy, 2)) == truth(scene)
    assert right >= 29


def test_pictures_that_were_coded_are_read_as_well() -> None:
    train, val = (Edits(split, 60, world=NEAR, captions="relation", side=32) for split in ("train", "val"))  # type: ignore[arg-type]
    pixels = [torch.from_numpy(np.stack([data.edit(index).images[0] for index in range(60)])).permute(0, 3, 1, 2) / 127.5 - 1
              for data in (train, val)]
    decoded = ((PatchCodec(4, 16).fit(pixels[0])(pixels[1]).clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    right = [sorted((thing.shape, thing.colour) for thing in recognise(picture, 2)) == sorted(thing.pair for thing in val.edit(index).before.objects)
             for index, picture in enumerate(decoded)]
    assert np.mean(right) >= 0.98


def test_what_is_no_shape_has_no_clarity() -> None:
    picture = np.full((32, 32, 3), 95, np.uint8)
    picture[4:14, 4:28] = (220, 40, 40)  # a bar that is too large for any template
    blot = recognise(picture, 1)[0]
    assert blot.colour == "red"
    assert blot.clarity < 0.9


def test_something_else_than_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[H, W, 3\]"):
        recognise(np.zeros((8, 8, 3), np.uint8), 1)
