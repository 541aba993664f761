"""The loss is exact in tokens: parts add up, however a batch is cut, and no label is no loss."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mm.training import Supervised, token_loss
from mm.training.loss import TokenLoss
from tests.training_runs import run


def test_the_loss_is_a_weighted_sum_whose_parts_add_up() -> None:
    torch.manual_seed(0)
    logits, targets, weights = torch.randn(7, 5), torch.randint(5, (7,)), torch.rand(7)
    whole = token_loss(logits, targets, weights)
    parts = [token_loss(logits[part], targets[part], weights[part]) for part in (slice(0, 2), slice(2, 2), slice(2, 7))]
    for name in ("total", "weight", "correct"):
        torch.testing.assert_close(sum(getattr(part, name) for part in parts), getattr(whole, name))
    torch.testing.assert_close(token_loss(logits, targets, torch.ones(7)).total / 7, cross_entropy(logits, targets))


def test_no_label_is_zero_loss_and_zero_gradient_not_nan() -> None:
    hidden = torch.randn(4, 5, requires_grad=True)
    loss = token_loss(hidden[torch.zeros(4, dtype=torch.bool)], torch.zeros(0, dtype=torch.long), torch.zeros(0))
    loss.total.backward()
    assert (loss.total.item(), loss.weight.item()) == (0.0, 0.0)
    assert torch.equal(hidden.grad, torch.zeros(4, 5))


def weights_after(folder: Path, *options: str, prepare: Callable[[], None] | None = None) -> dict[str, Tensor]:
    ended = run(folder, "--trainer.max_steps", "3", *options, "--model.language.config.attention_dropout", "0.0",
                "--model.optim", "mm.training.Optim", "--model.optim.eps", "1e-1", "--model.optim.clip", "0", "--model.train", '{"*": 1e-1}',
                "--model.schedule", "mm.training.Constant", prepare=prepare)  # clipping, and AdamW with a small eps, forgive a wrong scale
    assert ended.code == 0, ended.text
    return ended.checkpoint["state_dict"]


@pytest.fixture(scope="module", params=[(), ("--config", "configs/lever/cca.yaml"), ("--config", "configs/lever/modality_mutual.yaml")],
                ids=["plain", "cca", "modality_mutual"])
def lever(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture(scope="module")
def batch_of_four(lever: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return weights_after(tmp_path_factory.mktemp("four") / "run", *lever, "--data.batch_size", "4")


@pytest.mark.parametrize("options", [("--data.batch_size", "1", "--trainer.accumulate_grad_batches", "4"),
                                     ("--data.batch_size", "2", "--trainer.devices", "2", "--trainer.strategy", "ddp_fork")])
def test_accumulation_and_ranks_equal_one_batch_as_large(
        batch_of_four: dict[str, Tensor], lever: tuple[str, ...], options: tuple[str, ...], tmp_path: Path) -> None:
    """Rows differ in labels, so means of means would be off."""
    for name, value in weights_after(tmp_path / "run", *lever, *options).items():
        torch.testing.assert_close(value, batch_of_four[name], rtol=0, atol=1e-6)


def test_a_step_without_labels_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    def unlabelled() -> None:
        def nothing(self: Supervised, batch: Any) -> TokenLoss:
            output = self.vlm(batch)
            if self.global_step > 0:
                output = type(output)(output.logits[:0], output.targets[:0], output.weights[:0])
            return token_loss(*output)
        Supervised.loss = nothing  # type: ignore[method-assign]

    one = run(tmp_path / "one", "--trainer.max_steps", "1", prepare=unlabelled)
    three = run(tmp_path / "three", "--trainer.max_steps", "3", prepare=unlabelled)
    assert one.code == three.code == 0, three.text
    for name, value in one.checkpoint["state_dict"].items():
        assert torch.equal(three.checkpoint["state_dict"][name], value), name
    assert [row.get("unlabelled") for row in three.rows] == [None, 1.0, 1.0]
    assert three.rows[-1]["loss"] is None
    assert "have no label" in three.text
