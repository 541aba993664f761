"""The autoencoder in closed form: what principal components promise, and the surface that pipelines use."""
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mm.diffusion import PatchCodec


def pictures(count: int = 40, side: int = 16) -> Tensor:
    """Smooth random pictures."""
    coarse = torch.randn(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=side, mode="bicubic") / 2


def fitted(channels: int, patch: int = 4) -> PatchCodec:
    return PatchCodec(patch, channels).fit(pictures())


def test_with_all_components_the_round_trip_is_exact() -> None:
    torch.testing.assert_close(fitted(48)(pictures()), pictures(), atol=1e-5, rtol=0)


def test_a_second_round_trip_changes_nothing() -> None:
    codec = fitted(6)
    once = codec(pictures())
    assert (once - pictures()).abs().max() > 1e-3
    torch.testing.assert_close(codec(once), once, atol=1e-5, rtol=0)


def test_latents_of_the_fitted_pictures_are_white() -> None:
    latents = fitted(6).encode(pictures()).latent_dist.mode().transpose(0, 1).flatten(1)
    torch.testing.assert_close(latents.mean(1), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents @ latents.T / latents.shape[1], torch.eye(6), atol=1e-3, rtol=0)


def test_components_are_orthonormal_and_the_error_is_the_variance_that_is_left() -> None:
    codec, whole = fitted(6), fitted(48)
    rows = codec.components.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(6), atol=1e-5, rtol=0)
    left = whole.deviation[6:].square().sum()
    patches = 16 * 16 // 4**2
    error = (codec(pictures()) - pictures()).square().sum((1, 2, 3)).mean() / patches
    torch.testing.assert_close(error, left, rtol=1e-3, atol=0)
    assert (whole.deviation.diff() <= 0).all()


def test_more_components_never_err_more() -> None:
    errors = [float((fitted(channels)(pictures()) - pictures()).square().mean()) for channels in (1, 3, 9, 27)]
    assert errors == sorted(errors, reverse=True)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path: Path) -> None:
    codec = fitted(6)
    codec.save_pretrained(tmp_path)
    again = PatchCodec.from_pretrained(tmp_path)
    assert torch.equal(again(pictures()), codec(pictures()))
    assert again.config["latent_channels"] == 6
    assert 2 ** (len(again.config["block_out_channels"]) - 1) == 4


def test_a_sample_is_the_mode_and_tuples_are_given_when_asked_for() -> None:
    codec = fitted(6)
    code = codec.encode(pictures(2))
    assert torch.equal(code.latent_dist.sample(torch.Generator()), code.latent_dist.mode())
    assert torch.equal(codec.decode(code.latent_dist.mode(), return_dict=False)[0], codec.decode(code.latent_dist.mode()).sample)
    assert torch.equal(codec.encode(pictures(2), return_dict=False)[0].mode(), code.latent_dist.mode())


@pytest.mark.parametrize(("patch", "channels"), [(3, 4), (4, 0), (4, 49)])
def test_sizes_that_cannot_be_are_refused(patch: int, channels: int) -> None:
    with pytest.raises(ValueError, match="expected a power of 2"):
        PatchCodec(patch, channels)


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        fitted(6).encode(torch.zeros(1, 3, 16, 18))
    with pytest.raises(ValueError, match="give more pictures"):
        PatchCodec(4, 20).fit(torch.zeros(1, 3, 16, 16))
