"""The decoupled visual stream: neutral it is the plain model, else the dense formula; it fits every cross-attention and leaves no trace."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mm.diffusion.custom import Shown, VisualStream
from mm.diffusion.custom.cross import CrossAttention, cross_attentions, listening
from mm.diffusion.custom.word_maps import WordMaps
from mm.diffusion.watched import Call, is_watched
from tests.small_networks import KEYS, called, toy_pixart, toy_sd3, toy_unet

WIDTH = 6
MAKERS = [toy_unet, toy_pixart]
Maker = Callable[[], nn.Module]
DENOISERS = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def stirred(denoiser: nn.Module) -> VisualStream:
    """A stream with values that are not 0."""
    torch.manual_seed(2)
    stream = VisualStream.beside(denoiser, WIDTH)
    for value in stream.values.values():
        nn.init.normal_(value.weight)  # type: ignore[arg-type]
    return stream


def shown(rows: int = 2, mask: Tensor | None = None, seed: int = 3) -> Shown:
    return Shown(torch.randn(rows, 5, WIDTH, generator=torch.Generator().manual_seed(seed)), mask)


@DENOISERS
def test_a_neutral_stream_is_the_plain_model_to_the_bit(make: Maker) -> None:
    denoiser = make()
    plain = called(denoiser)
    with VisualStream.beside(denoiser, WIDTH).installed(denoiser) as new:
        nothing = called(denoiser)
        new.show(shown())
        untrained = called(denoiser)
    with stirred(denoiser).installed(denoiser) as stream:
        stream.show(shown(mask=torch.zeros(2, 4, 4)))
        masked = called(denoiser)
        stream.show(Shown(torch.zeros(2, 5, WIDTH)))
        no_tokens = called(denoiser)
        stream.show(shown())
        assert not torch.allclose(called(denoiser), plain, atol=1e-2)
    for found in (nothing, untrained, masked, no_tokens):
        assert torch.equal(found, plain)


@DENOISERS
def test_leaving_restores_the_denoiser_even_after_an_error(make: Maker) -> None:
    denoiser = make()
    plain, processors = called(denoiser), dict(denoiser.attn_processors)  # type: ignore[arg-type]
    stream = stirred(denoiser)
    with stream.installed(denoiser):
        stream.show(shown(3))
        with pytest.raises(ValueError, match="3 rows of picture tokens for a batch of 2"):
            called(denoiser)
    assert torch.equal(called(denoiser), plain)
    assert denoiser.attn_processors == processors
    assert all(not is_watched(processor) for processor in denoiser.attn_processors.values())  # type: ignore[union-attr, operator]
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in denoiser.modules())
    assert stream.shown == ()


def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


@pytest.mark.parametrize("key_heads", [4, 2], ids=["all_heads", "grouped_queries"])
def test_the_stream_equals_the_dense_formula(key_heads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    size, heads, width = (6, 4), 4, 8
    stream = VisualStream(WIDTH, {"a.attn2": key_heads * width}).double()
    nn.init.normal_(stream.values["a/attn2"].weight)  # type: ignore[arg-type]
    query = torch.randn(2, heads, 24, width, generator=generator, dtype=torch.float64)
    text = torch.randn(2, heads, 24, width, generator=generator, dtype=torch.float64)
    call = CrossAttention("a.attn2", nn.Identity(), Call(query, text, text, None, None, lambda: text, KEYS), size)
    mask = torch.rand(2, *size, generator=generator, dtype=torch.float64)
    pictures = [Shown(torch.randn(2, 5, WIDTH, generator=generator, dtype=torch.float64), m) for m in (mask, None)]
    stream.show(*pictures)
    expected = text
    for picture in pictures:
        key, value = (
            (picture.tokens @ side["a/attn2"].weight.T).view(2, 5, key_heads, width).transpose(1, 2)  # type: ignore[operator]
            .repeat_interleave(heads // key_heads, 1) for side in (stream.keys, stream.values))
        added = dense(query, key, value)
        expected = expected + (added if picture.mask is None else added * picture.mask.flatten(1)[:, None, :, None])
    torch.testing.assert_close(stream.beheld(call, text), expected, rtol=0, atol=1e-12)


def test_several_subjects_add_up_and_rows_do_not_know_each_other() -> None:
    denoiser = toy_unet().double()
    attention = next(iter(cross_attentions(denoiser)))
    found: list[Tensor] = []
    first, second = shown(mask=torch.rand(2, 4, 4)), shown(mask=torch.rand(2, 4, 4), seed=4)
    stream = stirred(denoiser).double()

    def keep(call: CrossAttention, out: Tensor) -> Tensor:
        if call.name == attention:
            found.append(stream.beheld(call, out))
        return out

    with stream.installed(denoiser, keep):
        for pictures in ((), (first,), (second,), (first, second)):
            stream.show(*pictures)
            called(denoiser)
        plain, one, other, both = found
        torch.testing.assert_close(both - plain, (one - plain) + (other - plain), rtol=0, atol=1e-12)
        mask = torch.rand(1, 4, 4)
        stream.show(shown(mask=torch.cat([mask, 0 * mask])))
        mixed = called(denoiser)
        stream.show()
        assert torch.equal(mixed[1], called(denoiser)[1]), "a row without mask stands in the same batch as one with it"


@pytest.mark.parametrize("latents", [(8, 8), (8, 12), (5, 7)], ids=str)
def test_a_mask_acts_where_it_is_at_every_resolution(latents: tuple[int, int]) -> None:
    """Half a picture is masked; in the first attention only that half of the pixels changes."""
    denoiser = toy_unet()
    name = next(iter(cross_attentions(denoiser)))
    outputs: list[Tensor] = []
    stream = stirred(denoiser)
    mask = torch.zeros(2, *latents)
    mask[:, :, latents[1] // 2:] = 1
    stream.show(shown(mask=mask))

    def keep(call: CrossAttention, out: Tensor) -> Tensor:
        if call.name == name:
            outputs.extend(each.unflatten(2, call.size) for each in (out, stream.beheld(call, out)))
        return out

    with listening(denoiser, keep):
        called(denoiser, size=latents)
    changed = (outputs[1] - outputs[0]).abs().amax((0, 1, 4))  # type: ignore[operator]
    assert torch.equal(changed > 0, mask[0].bool())


@DENOISERS
def test_trap_words_are_recorded_as_the_columns_of_the_map(make: Maker) -> None:
    denoiser = make().double()
    plain = called(denoiser)
    words, every = WordMaps([[1, 2], [3]]), WordMaps([[key] for key in range(KEYS)])
    with listening(denoiser, words, every):
        assert torch.equal(called(denoiser), plain)
    assert len(words.of(0)) == len(cross_attentions(denoiser))
    for found, columns in zip(words.maps, every.maps, strict=True):
        torch.testing.assert_close(columns.sum(1), torch.ones_like(columns[:, 0]), rtol=0, atol=1e-6)
        torch.testing.assert_close(found[:, 0], columns[:, 1] + columns[:, 2], rtol=0, atol=1e-6)
        torch.testing.assert_close(found[:, 1], columns[:, 3], rtol=0, atol=1e-6)


def test_only_the_new_parameters_learn() -> None:
    denoiser = toy_unet().requires_grad_(False)
    with stirred(denoiser).installed(denoiser) as stream:
        stream.show(shown())
        called(denoiser).square().sum().backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in stream.parameters() if weight.grad is not None)
    assert sum(weight.grad is not None for weight in stream.parameters()) == 2 * len(stream.layers)
    assert not any(weight.grad is not None for weight in denoiser.parameters())


def test_layers_that_are_computed_again_see_the_same_picture() -> None:
    gradients = []
    for checkpointed in (False, True):
        denoiser = toy_unet().requires_grad_(False).train()
        if checkpointed:
            denoiser.enable_gradient_checkpointing()
        with stirred(denoiser).installed(denoiser) as stream:
            stream.show(shown())
            called(denoiser).square().sum().backward()
        gradients.append([weight.grad for weight in stream.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_saved_stream_is_the_same_and_another_file_is_refused(tmp_path: Path) -> None:
    denoiser = toy_unet()
    stream = stirred(denoiser)
    stream.save(tmp_path / "stream.safetensors")
    again = VisualStream.load(tmp_path / "stream.safetensors")
    assert (again.width, again.layers) == (stream.width, stream.layers)
    assert all(torch.equal(one, other) for one, other in zip(stream.state_dict().values(), again.state_dict().values(), strict=True))
    from safetensors.torch import save_file
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is no visual stream"):
        VisualStream.load(tmp_path / "other.safetensors")


def test_what_does_not_fit_is_said() -> None:
    unet = toy_unet()
    stream = VisualStream.beside(unet, WIDTH)
    with pytest.raises(ValueError, match="has no cross-attention"):
        VisualStream.beside(toy_sd3(), WIDTH)
    with pytest.raises(ValueError, match="was made for 4 cross-attentions and PixArtTransformer2DModel has 2"), stream.installed(toy_pixart()):
        pass
    with pytest.raises(ValueError, match=r"expected \[B, T, 6\]"):
        stream.show(Shown(torch.zeros(1, 2, 5)))
    with pytest.raises(ValueError, match=r"expected \[1, h, w\]"):
        stream.show(Shown(torch.zeros(1, 2, 6), torch.ones(4, 4)))
    unet.set_attention_slice(1)
    with pytest.raises(RuntimeError, match="does not call scaled_dot_product_attention"), stream.installed(unet):
        called(unet)
