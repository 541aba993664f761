"""What AGLA's branch sees: the places that a prompt looks at, whatever the model, and views of one's own."""
import numpy as np
import pytest
import torch

import mm
from mm.attention import Recorder
from mm.decoding import AGLA, LocalView, Looked
from mm.decoding.local_view import Masked, maps
from mm.masks import ImageBlock
from mm.models import VLM, Branches
from mm.models.families import token_map
from mm.models.prompt import Prompt
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Restart
from mm.reweight import PAI
from tests.answering import made
from tests.contrasts import prompt_of
from tests.families import FAMILIES
from tests.law.test_contrasts import samples


@pytest.fixture(scope="module")
def toy() -> VLM:
    return made(ImageBlock(), Restart(), Branches())


def test_the_part_that_stays_is_what_the_last_row_looks_at_most() -> None:
    frames = np.full((1, 4, 4, 3), 200, dtype=np.uint8)
    look = torch.tensor([[[0.1, 0.9], [0.2, 0.3]]])
    found = Masked([look], keep=0.25)(frames, 0)
    assert (found[0, :2, 2:] == 200).all()
    assert int((found[..., 0] > 0).sum()) == 4
    assert np.array_equal(Masked([look], keep=1.0)(frames, 0), frames)


def test_frames_have_maps_of_their_own_and_tiles_the_last_one() -> None:
    looks = torch.zeros(2, 2, 2)
    looks[0, 0, 0] = looks[1, 1, 1] = 1.0
    clip, still = np.full((4, 2, 2, 3), 9, dtype=np.uint8), np.full((1, 2, 2, 3), 9, dtype=np.uint8)
    found = Masked([looks], keep=0.25)
    assert [tuple(np.argwhere(frame[..., 0])[0]) for frame in found(clip, 0)] == [(0, 0), (0, 0), (1, 1), (1, 1)]
    assert np.argwhere(found(still, 0)[0, ..., 0]).tolist() == [[1, 1]]


def test_pictures_of_a_prompt_are_cut_each_by_its_own_map(toy: VLM) -> None:
    prompt = VLMPrompt(toy, samples())
    branch = Looked(keep=0.3)(prompt)
    assert isinstance(branch, VLMPrompt)
    recorder = Recorder()
    tokens = prompt.watched(recorder)
    weights = Looked().mean(recorder.steps[0])
    for row, (before, after) in enumerate(zip(prompt.samples, branch.samples, strict=True)):
        looks = maps(tokens[row:row + 1], weights[row])
        for i, (old, new) in enumerate(zip(before.media, after.media, strict=True)):
            assert np.array_equal(new.frames, Masked(looks, 0.3)(old.frames, i))
            assert 0.2 < (new.frames == old.frames).all(-1).mean() < 1.0
    assert not np.array_equal(branch.samples[2].media[0].frames, branch.samples[2].media[1].frames)


def test_everything_kept_is_the_prompt_itself(toy: VLM) -> None:
    prompt = VLMPrompt(toy, samples())
    assert torch.equal(Looked(keep=1.0)(prompt).continuation().begin(), prompt.continuation().begin())


def test_a_view_of_ones_own_is_what_the_branch_sees(toy: VLM) -> None:
    class Left(LocalView):
        def __call__(self, prompt: Prompt) -> Prompt:
            return prompt.pictured([lambda frames, medium: frames * (np.arange(frames.shape[2]) < 16)[:, None].astype(np.uint8)] * len(prompt))

    branch = AGLA(view=Left()).branch(VLMPrompt(toy, samples()))
    assert isinstance(branch, VLMPrompt)
    assert not branch.samples[0].media[0].frames[:, :, 16:].any()


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_says_where_it_looks(name: str) -> None:
    """A prompt is watched under the model's levers, nothing remains, and each picture has a map that holds the mass of its placed tokens."""
    prompt = prompt_of(name)
    recorder, steered = Recorder(), Recorder()
    tokens = prompt.watched(recorder)
    with mm.steer(prompt.model, reweight=[PAI(alpha=2.0, first_layer=0)]):
        prompt.watched(steered)
    weights = Looked().mean(recorder.steps[0])
    assert torch.equal(tokens.media, token_map(prompt.model, prompt.inputs).media)
    for row, pictures in enumerate((1, 2)):
        looks = maps(tokens[row:row + 1], weights[row])
        placed = (tokens.row[row] >= 0) & tokens.is_vision[row]
        assert len(looks) == pictures
        assert all(bool((look >= 0).all()) and bool(look.any()) for look in looks)
        if len(tokens.frame[row, placed].unique()) == 1:
            torch.testing.assert_close(sum(look.sum() for look in looks), weights[row, placed].sum())
    assert len(recorder.steps) == len(steered.steps) == 1
    assert not torch.allclose(weights, Looked().mean(steered.steps[0]), atol=1e-4)
    assert not prompt.model._forward_pre_hooks
    assert prompt.model.config.get_text_config()._attn_implementation == "sdpa"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="share of a frame that stays"):
        Looked(keep=0.0)
    with pytest.raises(ValueError, match="asks for layer 7, and the model has layers 0 to 1"):
        Looked(layers=[7]).mean({0: torch.ones(1, 1, 1, 2), 1: torch.ones(1, 1, 1, 2)})
