"""RealCustom's sampling loop: what is called when, whose rows see what, and its traps."""
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from mm.diffusion.custom import AdaptiveMask, RealCustom, RelevanceScorer, Spread
from mm.diffusion.custom.word_maps import WordMaps
from mm.diffusion.denoisers import denoiser
from tests.customising import WIDTH, customiser, pictures
from tests.diffusion_pipelines import pipeline

PROMPT = "a red circle left of a blue square"
PICTURES = list(pictures(2))


def custom(name: str = "stable-diffusion", **settings: Any) -> RealCustom:
    behind = denoiser(pipeline(name))
    return RealCustom(behind, customiser(behind.network), **settings)


def drawn(loop: RealCustom, words: tuple[str, ...] = ("circle",), **settings: Any) -> Any:
    return loop(PROMPT, words, PICTURES[:len(words)], **{"steps": 3, "generator": torch.Generator().manual_seed(0), **settings})


class Counted:
    """Rows of each call of the denoiser."""

    def __init__(self, loop: RealCustom) -> None:
        self.rows: list[int] = []
        loop.denoiser.network.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.rows.append(len(args[0] if args else kwargs["hidden_states"]))


@pytest.mark.parametrize("name", ["stable-diffusion", "sdxl", "pixart", "sana"])
def test_every_family_with_cross_attention_is_customised_and_left_as_it_was(name: str) -> None:
    loop = custom(name)
    network = loop.denoiser.network
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    size = (32, 32) if name == "pixart" else None
    found = drawn(loop, size=size)
    for value in loop.customiser.stream.values.values():
        torch.nn.init.zeros_(value.weight)  # type: ignore[arg-type]
    plain = drawn(loop, size=size)
    assert not torch.allclose(found.latents, plain.latents, atol=1e-3)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())


def test_a_stream_that_says_nothing_is_the_pipelines_own_picture() -> None:
    loop = custom(guidance=2.0)
    for value in loop.customiser.stream.values.values():
        torch.nn.init.zeros_(value.weight)  # type: ignore[arg-type]
    found = drawn(loop)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = loop.denoiser.pipe(PROMPT, num_inference_steps=3, guidance_scale=2.0, latents=noise, output_type="latent").images
    torch.testing.assert_close(found.latents, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("reused", "guidance", "expected"), [
    (None, 2.0, [2, 4, 2, 4, 2, 4]), (1, 2.0, [2, 4, 4, 4]), (2, 2.0, [2, 4, 2, 4, 4]), (1, 1.0, [2, 2, 2, 2])], ids=str)
def test_reusing_the_mask_saves_the_guidance_pass(reused: int | None, guidance: float, expected: list[int]) -> None:
    loop = custom(guidance=guidance, mask_reused_step=reused)
    counted = Counted(loop)
    found = drawn(loop, images=2)
    assert counted.rows == expected
    masks = found.masks
    assert masks.shape == (3, 1, 2, 4, 4)
    assert [torch.equal(masks[step], masks[step - 1]) for step in (1, 2)] == [reused is not None and step >= reused for step in (1, 2)]


def test_the_guidance_pass_sees_no_picture_and_negative_rows_are_masked_too() -> None:
    loop = custom()
    stream = loop.customiser.stream
    seen: list[Any] = []
    loop.denoiser.network.register_forward_pre_hook(lambda *_: seen.append(stream.shown))
    found = drawn(loop, ("circle", "square"), images=2, steps=1)
    guidance, batch = seen
    assert guidance == ()
    for subject, shown in enumerate(batch):
        assert torch.equal(shown.mask, found.masks[0, subject].repeat(2, 1, 1))
        assert torch.equal(shown.tokens[:2], loop.customiser.blank(2))
        torch.testing.assert_close(shown.tokens[2:], loop.customiser.tokens(PICTURES[subject][None]).expand(2, -1, -1))


def test_trap_words_are_found_by_their_tokens_and_never_as_letters_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Substring search finds "a" in "square"; tokens do not."""
    found: list[list[list[int]]] = []
    begin = WordMaps.__init__
    monkeypatch.setattr(WordMaps, "__init__", lambda self, words: (found.append([list(keys) for keys in words]), begin(self, words))[1])
    loop = custom()
    drawn(loop, ("a",), steps=1)
    drawn(loop, ("blue square",), steps=1)
    pieces = PROMPT.split()
    start = found[0][0][0] - pieces.index("a")
    assert found == [[[start + index for index, piece in enumerate(pieces) if piece == "a"]], [[start + 6, start + 7]]]
    with pytest.raises(ValueError, match="has no word 'squ'"):
        drawn(loop, ("squ",))


def test_subjects_do_not_depend_on_their_order_and_each_has_its_own_mask() -> None:
    loop = custom()
    one = loop(PROMPT, ["circle", "square"], PICTURES, steps=2, generator=torch.Generator().manual_seed(0))
    other = loop(PROMPT, ["square", "circle"], PICTURES[::-1], steps=2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one.latents, other.latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.masks, other.masks.flip(1), rtol=0, atol=1e-5)
    assert not torch.equal(one.masks[:, 0], one.masks[:, 1])


def test_a_picture_of_a_batch_is_the_picture_alone_and_need_not_be_square() -> None:
    loop = custom()
    both = drawn(loop, images=2, size=(16, 24))
    assert both.pictures.shape == (2, 3, 16, 24)
    assert both.masks.shape == (3, 1, 2, 4, 6)
    alone = drawn(loop, images=1, size=(16, 24))
    torch.testing.assert_close(both.latents[:1], alone.latents, rtol=0, atol=1e-5)


def test_a_scorer_chooses_among_tokens() -> None:
    loop = custom()
    plain = drawn(loop)
    heard: list[Tensor] = []

    class Deaf(RelevanceScorer):
        def forward(self, tokens: Tensor, text: Tensor, latents: Tensor, signal: Tensor) -> Tensor:
            heard.append(signal)
            return super().forward(tokens, text, latents, signal)

    loop.scorer = Deaf(WIDTH, 16, 4, keep=0.5)
    assert not torch.allclose(drawn(loop).latents, plain.latents, atol=1e-4)
    signals = [float(each[0]) for each in heard]
    assert signals == sorted(signals), "the latents' share grows as noise falls"


def test_bad_input_is_said() -> None:
    loop = custom()
    with pytest.raises(ValueError, match=r"2 words .* and 1 pictures; expected one picture for each word"):
        loop(PROMPT, ["circle", "square"], PICTURES[:1])
    with pytest.raises(ValueError, match="has no word 'triangle'"):
        loop(PROMPT, ["triangle"], PICTURES[:1])
    with pytest.raises(ValueError, match=r"have tokens of .* in common"):
        loop(PROMPT, ["red circle", "circle"], PICTURES)
    with pytest.raises(ValueError, match="multiples of 2 px"):
        drawn(loop, size=(15, 16))
    with pytest.raises(ValueError, match="there is no mask to use again"):
        custom(mask_reused_step=0)
    with pytest.raises(ValueError, match="use a mask without spread"):
        custom(mask=AdaptiveMask(spread=Spread()))
    with pytest.raises(ValueError, match=r"PIL's or uint8 \[3, H, W\]"):
        loop(PROMPT, ["circle"], [torch.zeros(3, 4, 4)])
    with pytest.raises(ValueError, match="has no cross-attention"):
        custom("sd3")
    grey = Image.new("L", (9, 5), 128)
    assert loop(PROMPT, ["circle"], [grey], steps=1).pictures.shape == (1, 3, 16, 16)
