"""Every sample is seen equally often, in an order that goes on in place, and a broken one is named or passed over."""
import random
from collections import Counter

import numpy as np
import pytest
import torch

from mm.sample import BadSample
from mm.training import Data
from mm.training.loader import Batches, Broken, Draw, Loader, Once, Order
from mm.training.randomness import generator_states, kept_generators, restore_generators, seed_generators


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


# --- order


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
