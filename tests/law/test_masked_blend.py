"""Outside of a mask the picture is the source's, however many prompts and pictures there are and however the latents are packed."""
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from mm.diffusion import MaskedBlend
from mm.diffusion.blend import blend_mask, blended, latent_size
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt


def run(prompts: int, step: int = 0) -> Any:
    """What an edit of latents asks of control."""
    return SimpleNamespace(prompts=(Prompt("", ()),) * prompts, moment=Moment(step, 10))


def halves() -> torch.Tensor:
    mask = torch.zeros(32, 64)
    mask[:, 40:] = 1
    return mask


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("prompts", [2, 4])
def test_t4_any_number_of_prompts_and_pictures(prompts: int, images: int) -> None:
    latents = torch.randn(prompts * images, 3, 4, 8)
    out = MaskedBlend(halves()).after_step(latents, run(prompts)).unflatten(0, (prompts, images))
    rows = latents.unflatten(0, (prompts, images))
    assert torch.equal(out[..., 5:], rows[..., 5:])
    assert torch.equal(out[..., :5], rows[:1, ..., :5].expand_as(out[..., :5]))
    heat = torch.rand(prompts, images, 4, 8)
    mask = blend_mask(heat, (4, 8), 0.9)
    for prompt in range(prompts):  # each like a pair of its own
        for image in range(images):
            alone = blend_mask(heat[[0, prompt], image:image + 1], (4, 8), 0.9)
            assert torch.equal(mask[[0, prompt], image], alone[:, 0])
            pair = blended(rows[[0, prompt], image], alone)
            assert torch.equal(blended(latents, mask).unflatten(0, (prompts, images))[[0, prompt], image], pair)


def test_packed_latents_are_blended_token_by_token() -> None:
    latents = torch.randn(2, 4 * 8, 6)
    out = MaskedBlend(halves()).after_step(latents, run(2)).view(2, 4, 8, 6)
    rows = latents.view(2, 4, 8, 6)
    assert torch.equal(out[1, :, 5:], rows[1, :, 5:])
    assert torch.equal(out[1, :, :5], rows[0, :, :5])
    assert latent_size(torch.zeros(1, 6 * 4, 2), (48, 32)) == (6, 4)
    for odd in (torch.zeros(1, 7, 2), torch.zeros(1, 2, 3, 4, 5)):
        with pytest.raises(ValueError, match="cannot be blended by a mask of 48 x 32"):
            latent_size(odd, (48, 32))


def test_a_mask_a_target_and_a_window() -> None:
    masks = torch.stack([halves(), 1 - halves()])
    edit, latents = MaskedBlend(masks, (0.2, 0.5)), torch.randn(3, 1, 4, 8)
    edit.check(run(3).prompts)
    out = edit.after_step(latents, run(3, step=2))
    assert torch.equal(out[1, :, :, 5:], latents[1, :, :, 5:])
    assert torch.equal(out[2, :, :, 5:], latents[0, :, :, 5:])
    assert torch.equal(out[2, :, :, :5], latents[2, :, :, :5])
    for step in (0, 1, 5, 9):
        assert edit.after_step(latents, run(3, step)) is latents
    with pytest.raises(ValueError, match="2 masks and 1 target prompts"):
        edit.check(run(2).prompts)


def test_a_file_is_a_mask_and_what_is_none_is_refused(tmp_path: Path) -> None:
    Image.fromarray((halves().numpy() * 255).astype("uint8")).save(tmp_path / "mask.png")
    latents = torch.randn(2, 1, 4, 8)
    named, given = (MaskedBlend(mask).after_step(latents, run(2)) for mask in (str(tmp_path / "mask.png"), halves()))
    assert torch.equal(named, given)
    (tmp_path / "odd.png").write_text("odd")
    for name in ("odd.png", "none.png"):
        with pytest.raises(ValueError, match=rf"cannot read the mask .*{name}"):
            MaskedBlend(tmp_path / name)
    for mask in (torch.zeros(4, 4), torch.ones(4)):
        with pytest.raises(ValueError, match="with something inside"):
            MaskedBlend(mask)


def test_an_empty_map_has_an_empty_mask_and_half_precision_loses_nothing() -> None:
    assert not blend_mask(torch.zeros(2, 1, 4, 4), (8, 8)).any()
    heat = torch.rand(2, 1, 4, 4)
    assert torch.equal(blend_mask(heat.half(), (8, 8)), blend_mask(heat.half().float(), (8, 8)))
    latents = torch.randn(2, 1, 8, 8).half() * 1e4
    kept = blended(latents, torch.ones(2, 1, 8, 8, dtype=torch.bool))
    assert torch.equal(kept, latents)
