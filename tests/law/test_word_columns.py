"""Recorded words: the columns of the maps, raw or edited, without the maps; with gradients; in half precision; not aliased."""
from collections.abc import Callable

import pytest
import torch

import mm
from mm.diffusion import Branches, PixelMaps, Recorder, SelfInject, WordMaps, at_reduction
from mm.diffusion.daam import heat, region
from mm.diffusion.edit import Edit
from mm.diffusion.word_columns import Recorded
from tests import denoisers
from tests.denoisers import WORDS, Toy
from tests.edited_maps import MapEdit, MapForm
from tests.law.test_edits_fused import ALL, COLUMNS, FAMILIES, PROMPTS, TEXT_FIRST, Given

GROUPS = [[(1,), (2, 3)], [(2,), (1, 4), (0, 5)]]
EDITS: dict[str, list[Edit]] = {"gated": [Given(COLUMNS["gated"])], "normalised": [Given(COLUMNS["gated and normalised"])],
                                "with pixels": [Given(COLUMNS["gated and rescaled"]), SelfInject(ALL, side=1.0)]}
MAPS = {"gated": MapEdit(1, 0, COLUMNS["gated"]), "normalised": MapEdit(1, 0, COLUMNS["gated and normalised"]),
        "with pixels": MapEdit(1, 0, COLUMNS["gated and rescaled"], frozenset({"q", "k"}))}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("recorded", ["edited", "raw"])
@pytest.mark.parametrize("name", EDITS)
def test_recorded_columns_are_those_of_the_maps(family: Callable[..., Toy], name: str, recorded: Recorded) -> None:
    toy = family(2)
    recorder = Recorder(GROUPS, recorded=recorded)
    with mm.control(toy.model, EDITS[name], prompts=PROMPTS, branches=Branches.unguided(2), recorders=[recorder]) as control:
        control.at(0, 10)
        toy()
        toy()
    form = MapForm([MAPS[name]], family in TEXT_FIRST)
    with form:
        toy()
    expected = [pair[recorded == "raw"] for pair in form.words]
    assert len(recorder.sums) == len(expected) > 1
    for (site, sums), maps in zip(recorder.sums.items(), expected, strict=True):
        for prompt, groups in enumerate(GROUPS):
            words = torch.stack([maps[prompt][..., list(group)].sum(-1) for group in groups], -1).mean(0)
            assert (sums[prompt, 0] / 2 - words).abs().max() < 1e-6
            assert recorder.maps(prompt)[site].shape == (recorder.sites[site].height, recorder.sites[site].width, len(groups))


def test_t3_the_store_never_aliases_and_says_which_maps_it_holds() -> None:
    toy = denoisers.sd(2)
    recorders = [Recorder(GROUPS, recorded=kind) for kind in ("edited", "raw")]
    with mm.control(toy.model, EDITS["gated"], prompts=PROMPTS, recorders=recorders) as control:
        control.at(0, 10)
        toy()
        first = [{site: sums[1, 0].clone() for site, sums in recorder.sums.items()} for recorder in recorders]
        held = [{site: sums[1, 0] for site, sums in recorder.sums.items()} for recorder in recorders]
        toy()
    for before, kept in zip(first, held, strict=True):
        assert all(torch.equal(before[site], kept[site]) for site in before)
    site = next(iter(recorders[0].sums))
    assert not torch.allclose(recorders[0].sums[site][1, 0], recorders[1].sums[site][1, 0])
    assert torch.equal(recorders[0].sums[site][0, 0], recorders[1].sums[site][0, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_t9_half_precision_sums_are_float32(dtype: torch.dtype) -> None:
    found = {}
    for kind in (torch.float64, dtype):
        toy = denoisers.sd(2, dtype=kind)
        recorder = Recorder(GROUPS)
        with mm.control(toy.model, [], prompts=PROMPTS, recorders=[recorder]):
            for _ in range(3):
                toy()
        found[kind] = recorder
    assert all(sums[0, 0].dtype == torch.float32 for sums in found[dtype].sums.values())
    site = next(iter(found[dtype].sums))
    assert (found[dtype].maps(0)[site] - found[torch.float64].maps(0)[site]).abs().max() < 0.06


def test_word_maps_have_gradients_and_may_stop_the_denoiser() -> None:
    toy = denoisers.sd(1)
    words = WordMaps([(1,), (2, 3)], at_reduction(2))
    text = toy.given["encoder_hidden_states"].clone().requires_grad_()
    with mm.control(toy.model, branches=Branches.unguided(1), recorders=[words]):
        toy.model(**(toy.given | {"encoder_hidden_states": text}))
        whole = words.mean()
        gradient, = torch.autograd.grad(whole.square().sum(), text)
        ran = []
        hook = toy.model.up_blocks[0].register_forward_hook(lambda *_: ran.append(1))
        with words.truncated():
            toy.model(**(toy.given | {"encoder_hidden_states": text}))
        hook.remove()
        assert not ran
        assert torch.equal(words.mean(), whole)
        again, = torch.autograd.grad(words.mean().square().sum(), text)
    assert torch.equal(gradient, again)
    step = 1e-6 * torch.randn(text.shape, generator=torch.Generator().manual_seed(3), dtype=text.dtype)

    def loss(at: torch.Tensor) -> float:
        form = MapForm([], False)
        with form, torch.no_grad():
            toy.model(**(toy.given | {"encoder_hidden_states": at}))
        maps = form.words[1][0][0].mean(0)
        return float(torch.stack([maps[:, 1], maps[:, 2] + maps[:, 3]], -1).square().sum())

    assert (loss(text.detach() + step) - loss(text.detach() - step)) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-5)


def test_pixel_maps_are_means_of_the_maps() -> None:
    toy = denoisers.sd(2)
    pixels = PixelMaps(reduction=2)
    with mm.control(toy.model, [], prompts=PROMPTS, recorders=[pixels]):
        toy()
    form = MapForm([], False)
    with form:
        toy()
    same = [maps for maps in form.selves if maps.shape[-1] == 16]
    assert len(same) == 1
    assert (pixels.mean(1) - same[0][1].mean(0)).abs().max() < 1e-6


def test_pixel_maps_refuse_fine_pictures() -> None:
    toy = denoisers.sd(1, 34, 34)
    with pytest.raises(ValueError, match="has 1156 pixels, and maps among pixels are formed up to 1024"), \
            mm.control(toy.model, branches=Branches.unguided(1), recorders=[PixelMaps(reduction=1)]):
        toy()


def test_heat_maps_of_words() -> None:
    toy = denoisers.sd(2, 8, 12)
    recorder = Recorder(GROUPS)
    with mm.control(toy.model, [], prompts=PROMPTS, recorders=[recorder]):
        toy()
    heated = heat(recorder, 1, 2, (16, 24))
    assert heated.shape == (16, 24)
    assert heated.max() == 1
    assert heated.min() >= 0
    assert torch.equal(region(heated), heated > 0.4)
    with pytest.raises(ValueError, match="prompt 1 has 3 recorded words"):
        heat(recorder, 1, 3, (16, 24))
    with pytest.raises(ValueError, match="nothing is recorded of picture 1 of prompt 0"):
        heat(recorder, 0, 0, (16, 24), image=1)


def test_tokens_beyond_the_text_are_refused() -> None:
    toy = denoisers.sd(2)
    with pytest.raises(ValueError, match=f"word 0 has tokens \\[9\\], and '.*attn2' reads {WORDS} text keys"), \
            mm.control(toy.model, [], prompts=PROMPTS, recorders=[Recorder([[(9,)], []])]):
        toy()
