"""Training: the loss is exact in tokens, every sample is seen, what is told to rest rests, and what goes wrong is said."""
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mm.sample import BadSample
from mm.training import Constant, Cosine, Data, JSONLines, Linear, Schedule, Supervised, token_loss
from mm.training.checkpoint import CheckpointError, load_weights
from mm.training.loader import Batches, Broken, Draw, Loader, Once, Order
from mm.training.loss import TokenLoss
from mm.training.randomness import generator_states, kept_generators, restore_generators, seed_generators
from mm.training.rates import freeze_others, groups_of, rates_of, table
from tests.training_runs import TOY, run

# --- loss ---------------------------------------------------------------------------------------------------------------------------------------


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


# --- what stops a run ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["loss", "gradient norm"])
def test_nan_stops_with_the_batch_saved_and_the_weights_of_the_step_before(where: str, tmp_path: Path) -> None:
    def poisoned() -> None:
        clean = Supervised.loss

        def bad(self: Supervised, batch: Any) -> TokenLoss:
            loss = clean(self, batch)
            if self.global_step < 2:
                return loss
            if where == "loss":
                return loss._replace(total=loss.total * float("nan"))
            loss.total.register_hook(lambda gradient: gradient * float("inf"))
            return loss
        Supervised.loss = bad  # type: ignore[method-assign]

    ended = run(tmp_path / "run", "--checkpoints.every", "2", prepare=poisoned)
    assert ended.code == 1
    assert f"error: the {where} of step 2 is" in ended.text
    saved = json.loads((tmp_path / "run" / "nan_step_2.json").read_text())
    assert saved["ids"] == ended.ids[-2:]
    assert (tmp_path / "run" / "nan_step_2.safetensors").exists()
    assert all(torch.isfinite(value).all() for value in ended.checkpoint["state_dict"].values())


class Some:
    """Ten samples of which the odd ones are broken; a sample is its own row."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        if index % 2:
            raise BadSample(f"s{index}", "odd")
        return index


class Rows:
    """A processor of such rows."""

    def encode(self, sample: int) -> int:
        return sample

    def collate(self, rows: list[int]) -> list[int]:
        return rows


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_sample_stops_with_its_name(workers: int) -> None:
    loader = Loader(Some(), Rows(), Once(10, 2), workers, 0, "raise")  # type: ignore[arg-type]
    with pytest.raises(BadSample, match="'s1': odd") as caught:
        list(loader)
    loader.close()
    assert "Traceback" not in str(caught.value)


def test_or_the_next_one_takes_its_place_and_it_is_counted() -> None:
    drawn = list(Loader(Some(), Rows(), Once(10, 5), 0, 0, "skip"))  # type: ignore[arg-type]
    assert [d.batch for d in drawn] == [[0, 2, 2, 4, 4], [6, 6, 8, 8, 0]]
    assert [len(d.skipped) for d in drawn] == [2, 3]


def test_a_data_set_of_broken_samples_alone_is_an_error_not_a_search_without_end() -> None:
    class Bad(Some):
        def __getitem__(self, index: int) -> int:
            raise BadSample(f"s{index}", "broken")

    found = Batches(Bad(), Rows(), 0, "skip")[Draw((0,), (0,), 1)]  # type: ignore[arg-type]
    assert isinstance(found, Broken)
    assert "100 broken samples in a row" in found.reason


def test_an_empty_data_set_is_named() -> None:
    with pytest.raises(ValueError, match=r"data\.train: list holds no sample"):
        Data([])  # type: ignore[arg-type]


# --- order --------------------------------------------------------------------------------------------------------------------------------------


def taken(order: Order, draws: int, consumed: int = 0) -> list[int]:
    stream = order.draws(consumed)
    return [index for _ in range(draws) for index in next(stream).indices]


def test_every_sample_is_seen_equally_often() -> None:
    assert set(Counter(taken(Order(7, 2, seed=3), 7)).values()) == {2}
    assert taken(Order(7, 2, seed=3), 3)[:6] != taken(Order(7, 2, seed=4), 3)[:6]


def test_ranks_are_disjoint_and_together_one_rank_with_all() -> None:
    alone = taken(Order(12, 4, seed=0), 3)
    ranks = [taken(Order(12, 2, seed=0, rank=rank, ranks=2), 3) for rank in (0, 1)]
    assert sorted(ranks[0] + ranks[1]) == sorted(alone) == list(range(12))
    assert alone == [index for step in range(3) for rank in ranks for index in rank[2 * step:2 * step + 2]]


def test_the_position_is_in_samples_so_that_another_batch_size_goes_on_in_place() -> None:
    whole = taken(Order(10, 2, seed=0), 10)
    assert whole[:6] + taken(Order(10, 7, seed=0), 2, consumed=6) == whole
    assert Order(3, 8, seed=0).batches == 1  # a data set smaller than a batch is repeated, not refused


def test_what_was_consumed_counts_not_what_was_fetched() -> None:
    class Fine(Some):
        def __getitem__(self, index: int) -> int:
            return index

    loader = Loader(Fine(), Rows(), Order(10, 2, seed=0), 2, 0, "raise")  # type: ignore[arg-type]
    batches = iter(loader)
    first, second = next(batches), next(batches)
    loader.consume(first)
    loader.close()
    resumed = Loader(Fine(), Rows(), Order(10, 2, seed=0), 0, 0, "raise")  # type: ignore[arg-type]
    resumed.load_state_dict(loader.state_dict())
    rest = list(resumed)
    assert rest[0].batch == second.batch
    assert len(rest) == 4  # the pass is finished, not begun anew


def test_a_sample_draws_the_same_wherever_it_is_drawn() -> None:
    def drawn(*key: int) -> list[float]:
        seed_generators(*key)
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    before = generator_states()
    with kept_generators():
        assert drawn(5, 7, 0) == drawn(5, 7, 0)
        assert not set(drawn(5, 7, 0)) & {*drawn(5, 8, 0), *drawn(6, 7, 0), *drawn(7, 5, 0), *drawn(5, 7, 1)}
    assert torch.equal(generator_states()["torch"], before["torch"])
    torch.rand(3)
    restore_generators(before)
    assert torch.equal(generator_states()["torch"], before["torch"])


# --- rates --------------------------------------------------------------------------------------------------------------------------------------


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vision = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
        self.projector = nn.Linear(4, 4)
        self.language = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))


def test_a_rate_per_glob_and_what_has_none_rests() -> None:
    parts = Parts().train()
    freeze_others(parts, {"projector": 1e-3, "language.*": 2e-5, "language.1": 0.0})
    trains = [name for name, parameter in parts.named_parameters() if parameter.requires_grad]
    assert trains == ["projector.weight", "projector.bias", "language.0.weight", "language.0.bias"]
    assert not parts.vision[1].training  # no running statistics that drift
    assert not parts.vision[2].training
    assert parts.language[0].training


def test_matrices_decay_and_vectors_do_not() -> None:
    groups = groups_of(Parts(), {"projector": 1e-3})
    assert [(group.decays, group.names) for group in groups] == [(True, ("projector.weight",)), (False, ("projector.bias",))]


@pytest.mark.parametrize(("train", "said"), [({"projectr": 1.0}, "nearest names: projector"), ({"projector": 0.0}, "nothing trains")])
def test_rates_that_cannot_be_meant_are_errors(train: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rates_of(Parts(), train)


def test_the_start_up_table_says_what_trains() -> None:
    lines = table(Parts(), {"projector": 1e-3, "language.0": 2e-5}).splitlines()
    assert [line.split() for line in lines[1:]] == [["vision", "24", "0", "frozen"], ["projector", "20", "20", "0.001"],
                                                    ["language", "28", "20", "2e-05", "(language.0)"]]


@pytest.mark.parametrize(("schedule", "end"), [(Cosine(4, 0.1), 0.1), (Linear(4, 0.1), 0.1), (Constant(4), 1.0)])
def test_schedules_rise_over_the_warm_up_and_end_at_their_floor(schedule: Schedule, end: float) -> None:
    assert [schedule.factor(step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.factor(100, 100) == pytest.approx(end)


# --- files --------------------------------------------------------------------------------------------------------------------------------------


def test_a_line_that_a_kill_cut_short_is_dropped_at_resume(tmp_path: Path) -> None:
    logger = JSONLines(tmp_path)
    for step in (1, 2, 3):
        logger.log_metrics({"loss": 1.0 / step}, step)
    with logger.path.open("a") as file:
        file.write('{"step": 4, "lo')
    logger.rewind(2)
    logger.log_metrics({"loss": float("nan")}, 3)
    assert [json.loads(line) for line in logger.path.read_text().splitlines()] == [
        {"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": None}]


def test_a_second_stage_starts_with_the_weights_of_the_first(tmp_path: Path) -> None:
    first = run(tmp_path / "first", "--trainer.max_steps", "1")
    second = run(tmp_path / "second", "--trainer.max_steps", "1", "--config", "configs/stage/align.yaml",
                 "--model.init_from", str(tmp_path / "first"))
    assert first.code == second.code == 0, second.text
    moved = {name for name, value in first.checkpoint["state_dict"].items() if not torch.equal(value, second.checkpoint["state_dict"][name])}
    assert moved == {name for name in first.checkpoint["state_dict"] if name.startswith("vlm.projector")}
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_weights(nn.Linear(1, 1), tmp_path)


def test_wandb_is_there_when_asked_for(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", "--trainer.max_steps", "1", "--trainer.logger", "lightning.pytorch.loggers.WandbLogger",
                "--trainer.logger.offline", "true", "--trainer.logger.save_dir", str(tmp_path), config=TOY)
    assert ended.code == 0, ended.text
    assert list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(ended.rows) == 1
