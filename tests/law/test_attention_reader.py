"""Where a denoiser looks, read in passing: equal to dense maps of a whole forward, from as little of one as will do."""
from typing import Any

import pytest
import torch
from torch import Tensor

from mm.diffusion.denoisers import denoiser
from mm.diffusion.dynamic import AttentionReader
from mm.diffusion.leakage import balance
from mm.diffusion.text import Text
from tests.diffusion_pipelines import pipeline
from tests.tiny_diffusion import IDS, NOUNS, Dense, encoder, padded, unet

TIME = torch.tensor(500)


def inputs(rows: int = 2, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Text]:
    tokens = encoder()(torch.cat([padded(IDS), padded([48, 3, 49])])[:rows])[0]
    return torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype), Text(tokens.to(dtype))


def readers(dtype: torch.dtype = torch.float64) -> tuple[Dense, AttentionReader]:
    dense = Dense(unet().to(dtype))
    return dense, AttentionReader(dense.network, dense, words_at=2, pixels_at=1)


def test_maps_equal_dense_ones() -> None:
    (dense, reader), (latents, text) = readers(), inputs()
    torch.testing.assert_close(reader.words(latents, TIME, text), dense.words(latents, TIME, text), rtol=0, atol=1e-12)
    torch.testing.assert_close(reader.pixels(latents, TIME, text), dense.pixels(latents, TIME, text), rtol=0, atol=1e-12)


def test_gradients_equal_dense_ones() -> None:
    found = []
    for reader in readers():
        latents, text = inputs()
        free = [latents.requires_grad_(), text.tokens.requires_grad_()]
        found.append(torch.autograd.grad(balance(reader.words(latents, TIME, text), NOUNS).sum(), free))
    for mine, dense in zip(*found, strict=True):
        assert dense.abs().max() > 1e-6
        torch.testing.assert_close(mine, dense, rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences() -> None:
    """Of the whole way from the text to a loss, in a few directions."""
    (_, reader), (latents, text) = readers(), inputs()
    draws, step = torch.Generator().manual_seed(1), 1e-5

    def loss(tokens: Tensor) -> Tensor:
        return balance(reader.words(latents, TIME, Text(tokens)), NOUNS).sum()

    (slope,) = torch.autograd.grad(loss(text.tokens.requires_grad_()), text.tokens)
    for _ in range(3):
        way = torch.randn(text.tokens.shape, generator=draws, dtype=torch.float64)
        difference = (loss(text.tokens.detach() + step * way) - loss(text.tokens.detach() - step * way)) / (2 * step)
        torch.testing.assert_close((slope * way).sum(), difference, rtol=1e-6, atol=1e-9)


def test_a_forward_that_ends_early_gives_the_same_to_the_bit() -> None:
    (dense, reader), (latents, text) = readers(torch.float32), inputs(dtype=torch.float32)
    latents.requires_grad_()
    ends: list[int] = []
    dense.network.conv_out.register_forward_hook(lambda *_: ends.append(1))
    found = []
    for _ in range(2):
        maps = reader.words(latents, TIME, text)
        found.append((maps, *torch.autograd.grad(balance(maps, NOUNS).sum(), latents)))
    assert len(ends) == 1  # the second never came there
    assert all(torch.equal(whole, short) for whole, short in zip(*found, strict=True))


def test_latents_of_another_size_are_counted_anew() -> None:
    (dense, reader), (_, text) = readers(), inputs()
    for side in (8, 16, 8):
        latents = torch.randn(2, 4, side, side, dtype=torch.float64)
        dense.words_at = side // 2
        torch.testing.assert_close(reader.words(latents, TIME, text), dense.words(latents, TIME, text), rtol=0, atol=1e-12)


def test_the_denoiser_is_left_as_it_was() -> None:
    (dense, reader), (latents, text) = readers(torch.float32), inputs(dtype=torch.float32)
    plain, processors = dense(latents, TIME, text), dict(dense.network.attn_processors)
    for _ in range(2):
        reader.words(latents, TIME, text)
    assert torch.equal(dense(latents, TIME, text), plain)
    assert all(dense.network.attn_processors[name] is processor for name, processor in processors.items())
    assert not dense.network._forward_pre_hooks
    assert not dense.network._forward_hooks


def test_pictures_need_not_be_square() -> None:
    (_, reader), (_, text) = readers(), inputs()
    assert reader.words(torch.zeros(2, 4, 8, 16, dtype=torch.float64), TIME, text).shape == (2, 4, 8, 12)


def test_joint_attention_says_how_much_of_it_is_for_words() -> None:
    model = denoiser(pipeline("sd3"))
    text, _ = model.text(["a red circle"])
    reader: Any = AttentionReader(model.network, model, words_at=2, pixels_at=2)
    latents = torch.randn(1, 4, 8, 8)
    words, pixels = reader.words(latents, TIME, text), reader.pixels(latents, TIME, text)
    assert words.shape == (1, 4, 4, text.tokens.shape[1])
    torch.testing.assert_close(words.sum(-1) + pixels.sum(-1), torch.ones(1, 4, 4))


def test_a_size_that_no_attention_has_is_refused_with_those_there_are() -> None:
    dense, (latents, text) = Dense(unet()), inputs(dtype=torch.float32)
    with pytest.raises(ValueError, match="it has 1, 2, 4 to words and 1, 2, 4 among pixels"):
        AttentionReader(dense.network, dense, words_at=8).words(latents, TIME, text)
