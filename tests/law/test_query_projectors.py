"""What holds for every projector with learned queries: its announcements, its independence of other media, its gradients, and its life in a model."""
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from mm.masks import ImageBlock
from mm.models import VLM
from mm.positions import Restart
from mm.sample import BadSample, Media, Sample, Turn
from mm.streams import ClipProjector, Resampler
from tests.query_projectors import FACTORIES, features, made
from tests.vlms import toy

GRID = (2, 3)
NAMES = pytest.mark.parametrize("name", FACTORIES)
CLOSE = {"rtol": 0, "atol": 1e-12}


def clips(lengths: Sequence[int]) -> list[Sample]:
    random = np.random.default_rng(0)
    return [Sample(f"clip of {n}", (Media(random.integers(0, 255, (n, 16, 16, 3), dtype=np.uint8), "clip"),),
                   (Turn("<video> what do you see ?", "a red star ."),)) for n in lengths]


def in_model(name: str) -> VLM:
    plain = toy()
    torch.manual_seed(1)
    return VLM(plain.vision, FACTORIES[name](16, 32), plain.language, mask=ImageBlock(), positions=Restart()).eval()


@NAMES
@pytest.mark.parametrize("frames", [1, 2, 5, 11, 24])
def test_what_is_announced_is_what_comes(name: str, frames: int) -> None:
    projector = made(name)
    tokens = projector.project(features([frames]), GRID, [frames])
    assert tokens.shape == (projector.num_tokens(GRID, frames), 10)
    places = pickle.loads(pickle.dumps(projector.places(GRID)))(frames)
    assert places.shape == (3, len(tokens))
    assert places.dtype == np.int64
    assert 0 <= places[0].min() <= places[0].max() < frames
    assert (places[1:] == -1).all()
    assert projector.out_grid(GRID) is None


@NAMES
def test_a_medium_s_tokens_are_its_own_whatever_stands_beside_it(name: str) -> None:
    projector, frames = made(name), [3, 1, 5, 3, 2]
    alone = [projector.project(features([count], seed=count), GRID, [count]) for count in frames]
    order = [4, 0, 2, 1, 3]
    x = torch.cat([features([frames[i]], seed=frames[i]) for i in order])
    together = projector.project(x, GRID, [frames[i] for i in order])
    torch.testing.assert_close(together, torch.cat([alone[i] for i in order]), **CLOSE)


@NAMES
def test_a_medium_does_not_hear_of_a_change_in_another_one(name: str) -> None:
    projector, frames = made(name), [2, 3, 2]
    x = features(frames).requires_grad_()
    tokens = projector.project(x, GRID, frames)
    share = projector.num_tokens(GRID, 2)
    (heard,) = torch.autograd.grad(tokens[:share].square().sum(), x)
    assert bool((heard[:2] != 0).any(-1).all())
    assert not heard[2:].any()


@NAMES
def test_the_shape_of_the_grid_does_not_matter(name: str) -> None:
    projector, x = made(name), features([2, 1])
    assert torch.equal(projector.project(x, (1, 6), [2, 1]), projector.project(x, (3, 2), [2, 1]))


@NAMES
def test_gradients(name: str) -> None:
    projector, frames = made(name, 4, 3), [3, 1]
    x = features(frames, tokens=2, width=4).requires_grad_()
    parameters = dict(projector.named_parameters())
    few = [parameters[key] for key in parameters if key in ("query", "queries", "frame_embedding") or key.endswith("key.weight")][:2]

    def tokens(*_: torch.Tensor) -> torch.Tensor:
        return projector.project(x, (1, 2), frames)

    assert torch.autograd.gradcheck(tokens, (x, *few), nondet_tol=1e-12)


@NAMES
def test_frames_that_do_not_add_up_are_refused(name: str) -> None:
    projector = made(name)
    if isinstance(projector, ClipProjector):
        with pytest.raises(ValueError, match=r"5 frames of features came, and the media have \[2, 2\]"):
            projector.project(features([5]), GRID, [2, 2])


@NAMES
def test_clips_of_different_lengths_train_and_answer_in_one_batch(name: str) -> None:
    vlm, samples = in_model(name), clips([3, 1, 2, 6])
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in samples])
    with torch.no_grad():
        together = vlm.embed(batch)
        for b, sample in enumerate(samples):
            alone = vlm.embed(vlm.processor.collate([vlm.processor.encode(sample)]))[0]
            torch.testing.assert_close(together[b, :len(alone)], alone, rtol=0, atol=1e-5)
    answers = vlm.generate(samples, max_new_tokens=4)
    assert answers == [vlm.generate([sample], max_new_tokens=4)[0] for sample in samples]
    vlm.train()
    optimiser = torch.optim.AdamW(vlm.parameters(), 1e-2)
    losses = []
    for _ in range(4):
        out = vlm(batch)
        loss = torch.nn.functional.cross_entropy(out.logits, out.targets)
        optimiser.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in vlm.projector.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@NAMES
def test_a_saved_model_comes_back_with_its_projector(name: str, tmp_path: Path) -> None:
    vlm, (sample,) = in_model(name), clips([5])
    vlm.save(tmp_path)
    again = VLM.load(tmp_path)
    assert repr(again.projector) == repr(vlm.projector)
    assert torch.equal(again.next_token_logits([sample]), vlm.next_token_logits([sample]))


def test_a_resampler_refuses_more_frames_than_it_has_embeddings_for() -> None:
    projector = Resampler(8, 10, latents=2, depth=1, heads=2, head_width=4, max_frames=3)
    for ask in (lambda: projector(torch.randn(4, 6, 8), GRID, [4]), lambda: projector.places(GRID)(4), lambda: projector.num_tokens(GRID, 4)):
        with pytest.raises(ValueError, match="embeddings for 3 frames of a medium; this one has 4"):
            ask()


def test_a_clip_too_long_for_its_embeddings_is_a_bad_sample() -> None:
    plain = toy()
    vlm = VLM(plain.vision, Resampler(16, 32, latents=2, depth=1, heads=2, head_width=4, max_frames=3), plain.language)
    with pytest.raises(BadSample, match=r"clip of 4.*embeddings for 3 frames"):
        vlm.processor.encode(clips([4])[0])


def test_a_resampler_refuses_more_media_than_it_has_embeddings_for_and_media_without_a_place() -> None:
    projector = Resampler(8, 10, latents=2, depth=1, heads=2, head_width=4, max_media=2)
    x = torch.randn(3, 6, 8)
    with pytest.raises(ValueError, match=r"places 0 to 1; got \[0, 1, 2\]"):
        projector(x, GRID, [1, 1, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="latents counts tokens a medium, so it is at least 1; got 0"):
        Resampler(8, 10, latents=0)
    with pytest.raises(ValueError, match="must be told the place of each of these 3"):
        projector.project(x, GRID, [1, 1, 1])


def test_media_embeddings_go_with_their_medium_through_lengths_that_differ() -> None:
    torch.manual_seed(0)
    projector = Resampler(8, 10, latents=2, depth=1, heads=2, head_width=4, max_frames=3, max_media=2).double()
    x = features([2, 1])
    together = projector(x, GRID, [2, 1], [0, 1])
    torch.testing.assert_close(together[:1], projector(x[:2], GRID, [2], [0]), **CLOSE)
    torch.testing.assert_close(together[1:], projector(x[2:], GRID, [1], [1]), **CLOSE)
    assert not torch.allclose(together[1:], projector(x[2:], GRID, [1], [0]))
