"""Metrics of edits: recorded figures, and identities that hold whatever the encoder's weights are."""
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from mm.diffusion.metrics import (
    LPIPS,
    Distance,
    StructureDistance,
    clip_directions,
    clip_scores,
    edited_part,
    keys_of,
    mse,
    psnr,
    published,
    runs_to_mask,
    ssim,
    structure_distance,
)
from tests.edits import RandomCLIP
from tests.golden import load

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name[2:]: value for name, value in vars(load("diffusion", "edit_metrics")).items() if name.startswith("a/")}


def noise(seed: int, side: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def square(side: int = 48) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[10:30, 12:40] = True
    return mask


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    torch.manual_seed(0)
    return LPIPS(torchvision.models.squeezenet1_1(weights=None).state_dict())


@pytest.fixture(scope="module")
def structure() -> StructureDistance:
    import timm

    torch.manual_seed(0)
    return StructureDistance(timm.create_model(TINY).state_dict(), TINY, side=64)


@pytest.mark.parametrize(("name", "metric"), [("psnr", psnr), ("ssim", ssim)], ids=["psnr", "ssim"])
def test_all_over_as_recorded(golden: dict[str, Tensor], name: str, metric: Distance) -> None:
    assert metric(golden["img_a"].numpy(), golden["img_b"].numpy()) == pytest.approx(float(golden[name]), rel=1e-5)


@pytest.mark.parametrize(("name", "metric"), [("psnr", psnr), ("ssim", ssim), ("mse", mse)], ids=["psnr", "ssim", "mse"])
def test_published_outside_the_edit_as_recorded(golden: dict[str, Tensor], name: str, metric: Distance) -> None:
    found = published(metric, golden["img_a"].numpy(), golden["img_b"].numpy(), golden["edit_mask"].numpy())
    assert found == pytest.approx(float(golden[f"{name}_unedit"]), rel=1e-5)


def test_structure_distance_as_recorded(golden: dict[str, Tensor]) -> None:
    found = structure_distance(keys_of(golden["qkv_a"]), keys_of(golden["qkv_b"]))
    assert float(found) == pytest.approx(float(golden["structure_distance"]), rel=1e-5)


def test_runs_of_a_mask_as_recorded(golden: dict[str, Tensor]) -> None:
    assert np.array_equal(np.packbits(runs_to_mask(golden["rle"].tolist(), 48, 48), axis=-1), golden["rle_mask"].numpy())


def test_a_mask_without_runs_is_a_frame_or_nothing() -> None:
    assert runs_to_mask([], 5, 4).sum() == 14
    assert not runs_to_mask([], 5, 4, border=False).any()
    assert runs_to_mask([18, 100], 5, 4, border=False).sum() == 2
    with pytest.raises(ValueError, match="even number"):
        runs_to_mask([1, 2, 3])
    with pytest.raises(ValueError, match="0 or more"):
        runs_to_mask([-1, 2])


def test_what_lies_inside_the_mask_changes_nothing_truly_masked(lpips: LPIPS) -> None:
    first, second, mask = noise(0), noise(1), square()
    other = np.where(mask[..., None], noise(2), second)
    for metric in (mse, psnr, ssim, lpips):
        assert metric(first, second, mask) == metric(first, other, mask)
        assert np.isfinite(metric(first, second, mask))


def test_a_larger_mask_flatters_the_published_figures_only() -> None:
    first, second = noise(0), noise(1)
    small, large = np.zeros((48, 48), bool), np.zeros((48, 48), bool)
    small[:4], large[:40] = True, True
    assert published(psnr, first, second, large) > published(psnr, first, second, small) + 5
    assert abs(psnr(first, second, large) - psnr(first, second, small)) < 0.5


def test_an_empty_mask_is_no_mask_and_a_full_one_leaves_nothing(lpips: LPIPS) -> None:
    first, second = noise(0), noise(1)
    empty, full = np.zeros((48, 48), bool), np.ones((48, 48), bool)
    for metric in (mse, psnr, ssim):
        assert metric(first, second, empty) == pytest.approx(metric(first, second), rel=1e-5)
        assert published(metric, first, second, empty) == pytest.approx(metric(first, second), rel=1e-6)
    for metric in (mse, psnr, ssim, lpips):
        assert np.isnan(metric(first, second, full))
        assert np.isnan(published(metric, first, second, full))


def test_a_picture_is_like_itself(lpips: LPIPS, structure: StructureDistance) -> None:
    picture = noise(3, 64)
    assert (mse(picture, picture), psnr(picture, picture), ssim(picture, picture)) == (0, float("inf"), pytest.approx(1))
    assert lpips(picture, picture) == 0
    assert structure(picture, picture) == 0
    assert lpips(picture, noise(4, 64)) > 0
    assert structure(picture, noise(4, 64)) > 0


def test_structure_sees_the_class_token_and_any_shape(structure: StructureDistance) -> None:
    assert structure.keys(noise(0, 64)).shape == (1, 1 + 16, 192)
    wide = np.random.default_rng(0).integers(0, 256, (40, 75, 3), dtype=np.uint8)
    assert structure.keys(wide).shape == (1, 1 + 4 * 7, 192)
    with pytest.raises(ValueError, match="one shape"):
        structure(wide, noise(0))


def test_equal_shifts_go_in_the_same_direction() -> None:
    class Moving:
        """Pictures and texts on the sphere at angles that their brightness or length gives."""

        def encode_images(self, pictures: Sequence[np.ndarray]) -> Tensor:
            return self.at([float(picture[0, 0, 0]) / 100 for picture in pictures])

        def encode_texts(self, texts: Sequence[str]) -> Tensor:
            return self.at([len(text) / 10 for text in texts])

        def at(self, angles: Sequence[float]) -> Tensor:
            return torch.tensor([[np.cos(angle), np.sin(angle)] for angle in angles]) * 7

    dark, light = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 50, np.uint8)
    assert clip_directions(Moving(), [dark], [light], ["x"], ["xxxxx"]) == [pytest.approx(1, abs=1e-5)]
    assert clip_directions(Moving(), [dark], [light], ["xxxxx"], ["x"]) == [pytest.approx(-1, abs=1e-5)]
    assert clip_directions(Moving(), [dark, dark], [dark, light], ["x", "x"], ["xx", "x"]) == [0, 0]
    assert clip_scores(Moving(), [dark, light], ["x", "x" * 36]) == [pytest.approx(100, abs=1e-4), 0]


def test_the_edited_part_is_black_outside() -> None:
    picture, mask = noise(0), square()
    part = edited_part(picture, mask)
    assert np.array_equal(part[mask], picture[mask])
    assert not part[~mask].any()


@pytest.mark.parametrize(("first", "second", "mask", "said"), [
    (noise(0), noise(0, 40), None, "48 x 48 and 40 x 40"),
    (noise(0).astype(np.float32) * np.nan, noise(0), None, "not finite"),
    (noise(0)[..., 0], noise(0), None, r"uint8 \[48, 48\]"),
    (noise(0), noise(1), np.zeros((40, 48), bool), r"got \[40, 48\]"),
], ids=["size", "nan", "grey", "mask"])
def test_what_cannot_be_compared_is_named(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None, said: str) -> None:
    for metric in (mse, psnr, ssim):
        with pytest.raises(ValueError, match=said):
            metric(first, second, mask)


def test_encoders_that_overflow_or_disagree_are_named() -> None:
    class Odd(RandomCLIP):
        def encode_texts(self, texts: Sequence[str]) -> Tensor:
            return torch.full((len(texts), 16), torch.nan)

    class Narrow(RandomCLIP):
        def encode_texts(self, texts: Sequence[str]) -> Tensor:
            return torch.ones(len(texts), 8)

    with pytest.raises(ValueError, match="not finite for 1 of 1, first for text 0"):
        clip_scores(Odd(), [noise(0)], ["x"])
    with pytest.raises(ValueError, match="one width"):
        clip_scores(Narrow(), [noise(0)], ["x"])
    with pytest.raises(ValueError, match="1 pictures and 2 texts"):
        clip_scores(RandomCLIP(), [noise(0)], ["x", "y"])
    assert clip_scores(RandomCLIP(), [], []) == []


def test_weights_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="no such file"):
        LPIPS("nowhere.pth")
    with pytest.raises(ValueError, match="no state of torchvision's alexnet"):
        LPIPS({"features.0.weight": torch.zeros(1)}, "alex")
    with pytest.raises(ValueError, match="not those of timm's vit_tiny"):
        StructureDistance({"cls_token": torch.zeros(1, 1, 192)}, TINY)
    with pytest.raises(ValueError, match="that takes pictures of any size"):
        StructureDistance({}, "resnet18")
    with pytest.raises(ValueError, match="windows of 11"):
        ssim(noise(0, 9), noise(1, 9))
    with pytest.raises(ValueError, match="32 pixels"):
        LPIPS(torchvision.models.alexnet(weights=None).state_dict(), "alex")(noise(0, 16), noise(1, 16))
