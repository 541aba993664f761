"""DARA from end to end: some hundred factors are trained on a few episodes in front of a frozen model, saved, loaded and evaluated."""
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data.world import Episodes
from mm import reweight
from mm.models import VLM
from mm.training.checkpoint import CheckpointError, load_weights
from mm.training.rates import groups_of
from tests.training_runs import ROOT, TOY, Ended, run
from tests.vlms import toy

FACTOR = "reweight.0.factor"
EPISODES = ("--data.train", "data.world.Episodes", "--data.train.size", "4", "--data.train.demos", "[2]", "--data.batch_size", "4",
            "--model.language.config.attention_dropout", "0.0", "--model.schedule", "mm.training.Constant")
DARA = (*EPISODES, "--model.train", '{"reweight.*": 0.1}')
LEVER = [*TOY, "--config", str(ROOT / "configs" / "lever" / "dara.yaml")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Ended]:
    """A model that has read the episodes for a while, with attention that matters (25 steps teach it little), and DARA on it."""
    folder = tmp_path_factory.mktemp("dara")
    base = run(folder / "base", *EPISODES, "--trainer.max_steps", "25", "--model.train", '{"*": 1.0e-2}')
    assert base.code == 0, base.text
    vlm = VLM.load(base.folder)
    with torch.no_grad():
        for name, parameter in vlm.language.named_parameters():
            parameter.mul_(4.0 if "self_attn" in name else 1.0)
    vlm.save(base.folder / "model")
    tuned = run(folder / "tuned", *DARA, "--trainer.max_steps", "8", "--checkpoints.every", "4", "--checkpoints.keep", "4",
                "--model.init_from", str(base.folder), config=LEVER)
    assert tuned.code == 0, tuned.text
    return base, tuned


def weights(ended: Ended) -> dict[str, Any]:
    return load_file(ended.folder / "model" / "model.safetensors")


def loss(vlm: VLM) -> float:
    batch = vlm.processor.collate([vlm.processor.encode(Episodes(size=4, demos=(2,))[index]) for index in range(4)])
    with torch.no_grad():
        logits, targets, _ = vlm(batch)
    return float(torch.nn.functional.cross_entropy(logits, targets))


def test_training_the_factors_lowers_the_loss_on_the_episodes(runs: tuple[Ended, Ended]) -> None:
    base, tuned = runs
    losses = [row["loss"] for row in tuned.rows]
    assert all(after < before for before, after in pairwise(losses))
    assert losses[0] == pytest.approx(loss(VLM.load(base.folder)), abs=1e-4)  # factors of one are the model that it began with
    assert losses[-1] < losses[0] - 0.2


def test_only_the_factors_change(runs: tuple[Ended, Ended]) -> None:
    before, after = map(weights, runs)
    assert after.keys() - before.keys() == {FACTOR}
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    factor = after[FACTOR]
    assert factor.shape == (1, 2, 8)  # layers, heads, images
    assert (factor[..., :3] != 1).all()  # two demonstrations and the query
    assert (factor[..., 3:] == 1).all()  # images that no episode has: weight decay does not touch them either
    assert "reweight" in runs[1].text
    assert "frozen" in runs[1].text


def test_a_saved_model_reads_with_its_factors(runs: tuple[Ended, Ended]) -> None:
    base, tuned = runs
    vlm = VLM.load(tuned.folder)
    assert repr(list(vlm.reweight)) == "[DARA(images=8)]"
    assert loss(vlm) < loss(VLM.load(base.folder)) - 0.2
    vlm.reweight = type(vlm.reweight)((), 2, 2)
    assert loss(vlm) == pytest.approx(loss(VLM.load(base.folder)), abs=1e-6)


def test_a_run_goes_on_from_a_checkpoint_with_its_factors(runs: tuple[Ended, Ended], tmp_path: Path) -> None:
    base, tuned = runs
    again = run(tmp_path / "again", *DARA, "--trainer.max_steps", "8", "--model.init_from", str(base.folder),
                "--ckpt_path", str(tuned.folder / "checkpoints" / "step_4.ckpt"), config=LEVER)
    assert again.code == 0, again.text
    assert torch.equal(weights(again)[FACTOR], weights(tuned)[FACTOR])
    assert not torch.equal(torch.load(tuned.folder / "checkpoints" / "step_4.ckpt", weights_only=True)["state_dict"]["vlm." + FACTOR],
                           weights(tuned)[FACTOR])


def test_a_model_with_factors_is_not_taken_for_one_without(runs: tuple[Ended, Ended], tmp_path: Path) -> None:
    vlm = VLM.load(runs[1].folder)
    load_weights(vlm, runs[0].folder)  # rules are new to the model: they stay as they are
    assert torch.equal(dict(vlm.named_parameters())[FACTOR], weights(runs[1])[FACTOR])
    with pytest.raises(ValueError, match=r"1 unexpected: reweight.0.factor"):
        load_weights(VLM.load(runs[0].folder), runs[1].folder)
    with pytest.raises(CheckpointError, match=r"no model.safetensors"):
        load_weights(vlm, tmp_path)


def test_factors_do_not_decay() -> None:
    vlm = toy(reweight=[reweight.DARA()])
    assert [(group.names, group.decays) for group in groups_of(vlm, {"reweight.*": 0.1})] == [((FACTOR,), False)]
    assert all(group.decays for group in groups_of(vlm, {"projector.layers.0.weight": 0.1}))
