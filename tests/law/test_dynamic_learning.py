"""Learning a picture's words, step by step, on random weights."""
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mm.diffusion.dynamic import DPL, AlongNullText, Held, LocInv, Regions, Scene, Wording
from mm.diffusion.dynamic.tokens import DynamicTokens, table
from mm.diffusion.inversion import DDIM, reconstruct
from mm.diffusion.leakage import Threshold, balance, disjoint
from mm.diffusion.schedule import ddim
from mm.diffusion.text import Text
from tests.noise_model import ddim_scheduler
from tests.tiny_diffusion import IDS, NOUNS, Dense, encoder, padded, unet

STEPS = 4
NEVER = Threshold(0.0, 25)
PROMPTS = {"a cat and firefly": IDS, "a dog and firefly": [48, 3, 30, 5, 21, 22, 49], "": [48, 49]}


def scene(steps: int = STEPS, reader: Any = None) -> Scene:
    clip, model, schedule = encoder(), Dense(unet()), ddim(ddim_scheduler(), steps)
    tokens = DynamicTokens(clip, IDS, NOUNS)
    wording = Wording([(clip, tokens)], lambda prompt: Text(clip(padded(PROMPTS[prompt]))[0]))
    picture = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        text, negative = wording.text("a cat and firefly"), wording.text("")
    trajectory = DDIM().invert(model, schedule, picture, text, negative)
    return Scene(model, reader or model, schedule, trajectory, wording, "a cat and firefly", NOUNS, negative)


def masks() -> Tensor:
    left = torch.zeros(8, 8)
    left[:, :4] = 1
    return torch.stack([left, left.flip(1)])


def test_the_losses_fall_at_every_step() -> None:
    learned = DPL(updates=6, lr=5e-2, balanced=NEVER, following=Held()).learn(scene())
    assert learned.names == ("balance", "disjoint", "background")
    assert learned.background is not None
    assert learned.background.shape == (4, 4)
    weighted = learned.losses @ torch.tensor([1.0, 0.05, 0.05])
    assert (weighted[:, 1] < weighted[:, 0]).all()
    assert learned.updates.tolist() == [6] * STEPS
    assert [rows.shape for rows in learned.rows] == [(STEPS, 3, 16)]


def test_masks_draw_their_nouns_to_them() -> None:
    learned = LocInv(masks(), [[1], []], marginal=1.0, updates=10, lr=5e-2, alike=NEVER, following=Held()).learn(scene())
    assert learned.names == ("similarity", "outside", "marginal", "binding")
    assert (learned.losses[-1, 1] < learned.losses[0, 0]).all()


def test_learning_stops_before_an_update_where_all_losses_are_low_enough() -> None:
    easy = Threshold(9.0, 25)
    where = scene()
    before = where.wording.rows[0].detach().clone()
    learned = DPL(balanced=easy, clear=easy, apart=easy, following=Held()).learn(where)
    assert learned.updates.tolist() == [0] * STEPS
    assert torch.equal(learned.rows[0], before.expand(STEPS, -1, -1))


def test_a_loss_that_is_not_low_enough_keeps_all_going() -> None:
    easy = Threshold(9.0, 25)
    learned = DPL(balanced=easy, clear=easy, apart=NEVER, updates=2, following=Held()).learn(scene())
    assert learned.updates.tolist() == [2] * STEPS


def test_embeddings_go_on_from_step_to_step_and_adamw_does_not() -> None:
    """The first step of AdamW is lr in each direction (and its decay), whatever the gradient: so it is after each step if its state is new."""
    learned = DPL(updates=1, lr=1e-2, weight_decay=0.0, balanced=NEVER, following=Held()).learn(scene())
    moves = learned.rows[0].diff(dim=0).abs()
    torch.testing.assert_close(moves, torch.full_like(moves, 1e-2), rtol=0, atol=2e-4)


def test_losses_are_those_of_the_maps_that_are_given_back() -> None:
    learned = DPL(updates=2, balanced=NEVER, following=Held()).learn(scene())
    for step in range(STEPS):
        found = torch.stack([balance(learned.maps[step], NOUNS), disjoint(learned.maps[step], NOUNS)])
        torch.testing.assert_close(learned.losses[step, 1, :2], found)


def test_nothing_but_the_rows_is_trained() -> None:
    where = scene()
    network, clip = where.model.network.requires_grad_(), where.wording.encoders[0][0].requires_grad_()  # type: ignore[attr-defined]
    before = [weight.clone() for weight in [*network.parameters(), *clip.parameters()]]
    DPL(updates=2, balanced=NEVER, following=AlongNullText(2.0, inner=1)).learn(where)
    assert all(torch.equal(one, other) for one, other in zip([*network.parameters(), *clip.parameters()], before, strict=True))
    assert all(weight.grad is None for weight in [*network.parameters(), *clip.parameters()])
    assert not table(clip)._forward_hooks


def test_null_texts_bring_guided_sampling_with_the_learned_words_back() -> None:
    where = scene()
    learned = DPL(updates=2, lr=5e-2, balanced=NEVER, following=AlongNullText(3.0, inner=20)).learn(where)
    texts = learned.texts(where.wording, [where.prompt])
    assert learned.trajectory.negatives is not None
    z = plain = where.trajectory.noise
    with torch.no_grad():
        for step, timestep in enumerate(where.schedule.timesteps):
            for_null, for_empty = (where.model(z, timestep, learned.trajectory.negatives[step]), where.model(plain, timestep, where.negative))
            given, plainly = where.model(z, timestep, texts[step]), where.model(plain, timestep, texts[step])
            z = where.schedule.down(step, z, for_null + 3 * (given - for_null))
            plain = where.schedule.down(step, plain, for_empty + 3 * (plainly - for_empty))
    errors = [(found - where.trajectory.latents[-1]).square().mean() for found in (z, plain)]
    assert errors[0] < errors[1]


def test_held_sources_are_reconstructed_exactly() -> None:
    where = scene()
    learned = DPL(updates=1, balanced=NEVER, following=Held()).learn(where)
    path = reconstruct(where.model, where.schedule, learned.trajectory, where.wording.text(where.prompt), guidance=7.5)
    assert torch.equal(path, where.trajectory.latents)


def test_texts_of_an_edit_hold_each_step_s_words() -> None:
    where = scene()
    learned = DPL(updates=2, lr=5e-2, balanced=NEVER, following=Held()).learn(where)
    where.wording.encoders[0][1].read_in(PROMPTS["a dog and firefly"], [(), (4, 5)])
    texts = learned.texts(where.wording, ["a cat and firefly", "a dog and firefly"])
    clip = encoder()
    plain = clip(torch.cat([padded(PROMPTS["a cat and firefly"]), padded(PROMPTS["a dog and firefly"])]))[0]
    assert len(texts) == STEPS
    assert all(text.tokens.shape == plain.shape for text in texts)
    assert torch.equal(texts[0].tokens[1, :4], plain[1, :4])  # a dog has not been learned
    assert not torch.isclose(texts[0].tokens[1, 4], plain[1, 4]).all()
    assert not torch.equal(texts[0].tokens, texts[-1].tokens)


def test_trap_the_average_is_over_as_many_steps_as_there_are() -> None:
    """Each third of the picture looks at itself; one noun looks left, one right, whatever the latent. The released code divides by 50."""
    thirds = (torch.arange(6).repeat(6, 1) // 2).flatten()

    class Fixed(Dense):
        def words(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
            maps = torch.full((1, 36, 12), 0.01)
            maps[0, thirds == 0, 2], maps[0, thirds == 2, 4] = 0.8, 0.8
            return maps.unflatten(1, (6, 6))

        def pixels(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
            return ((thirds[:, None] == thirds).float() / 12).view(1, 6, 6, 36)

    for steps in (2, 5):
        learned = DPL(updates=0, regions=Regions(clusters=3), following=Held()).learn(scene(steps, Fixed(unet())))
        assert learned.background is not None
        assert torch.equal(learned.background, (thirds == 1).view(6, 6))


def test_trap_the_background_is_looked_for_only_where_it_counts() -> None:
    class Unasked(Dense):
        def pixels(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
            raise AssertionError("asked for self-attention")

    assert DPL(background=0.0, updates=0, following=Held()).learn(scene(reader=Unasked(unet()))).background is None


@pytest.mark.parametrize(("call", "message"), [
    (lambda: replace(scene(), trajectory=DDIM().invert(Dense(unet()), ddim(ddim_scheduler(), STEPS), torch.zeros(2, 4, 8, 8),
                                                       Text(torch.zeros(1, 12, 16)), Text(torch.zeros(1, 12, 16)))), "one picture"),
    (lambda: replace(scene(), schedule=ddim(ddim_scheduler(), 5)), "4 steps and a schedule of 5"),
    (lambda: LocInv(masks()[:1]).learn(scene()), "1 masks for 2 nouns"), (lambda: DPL(updates=-1), "updates=-1"),
    (lambda: DPL(balanced=NEVER).learn(replace(scene(), prompt="a dog and firefly")), "encoder 0 does not read the nouns"),
], ids=["pictures", "steps", "masks", "updates", "ids"])
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
