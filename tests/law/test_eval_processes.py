"""Many processes answer what one would, in the same batches, to the byte, on one disk or on several, and go on where others stopped."""
from pathlib import Path

import pytest

from eval.frame.batches import batched, cost, shares
from eval.frame.benchmark import Item
from eval.frame.journal import Mismatch
from eval.frame.processes import Alone, Lost, processes
from eval.frame.runner import Answered, answered
from tests.crew import Member, together
from tests.scripted import Scripted, items, picture


def ask(member: Member | Alone, folder: Path, model: Scripted | None = None, size: int = 2) -> Answered | None:
    return answered(items(), model or Scripted(lambda item: item.id), folder / "a.jsonl", {"prompt": ""}, 8, size, processes=member)


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    ask(Alone(), tmp_path / "whole")
    return (tmp_path / "whole" / "a.jsonl").read_bytes()


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("disks", ["one", "several"])
def test_any_number_of_processes_writes_the_same_bytes(count: int, disks: str, tmp_path: Path, whole: bytes) -> None:
    models = [Scripted(lambda item: item.id) for _ in range(count)]
    folders = [tmp_path / (disks if disks == "one" else str(rank)) for rank in range(count)]
    first, *others = together(count, lambda member: ask(member, folders[member.rank], models[member.rank]))
    expected = ask(Alone(), tmp_path / "again")
    assert expected is not None
    assert first.rows == expected.rows
    assert others == [None] * (count - 1)
    assert sorted(id for model in models for id in model.asked) == sorted(item.id for batch in batched(items(), 2) for item in batch)
    assert (folders[0] / "a.jsonl").read_bytes() == whole
    assert [path.name for folder in set(folders) for path in folder.glob("*part*")] == []


@pytest.mark.parametrize("disks", ["one", "several"])
@pytest.mark.parametrize("later", [1, 2, 3])
def test_others_go_on_where_some_stopped(disks: str, later: int, tmp_path: Path, whole: bytes) -> None:
    """On several disks those that stopped come back to theirs."""
    folders = [tmp_path / (disks if disks == "one" else str(rank)) for rank in range(3)]
    stopped = [Scripted(lambda item: item.id, batches=batches) for batches in (2, 1)]
    ends = together(2, lambda member: ask(member, folders[member.rank], stopped[member.rank]))
    assert [type(end) for end in ends] in ([Lost, KeyboardInterrupt], [KeyboardInterrupt, KeyboardInterrupt])
    kept = {id for rank, model in enumerate(stopped) for id in model.asked if disks == "one" or rank < later}
    rest = [Scripted(lambda item: item.id) for _ in range(later)]
    together(later, lambda member: ask(member, folders[member.rank], rest[member.rank]))
    asked = [id for model in rest for id in model.asked]
    assert not kept & set(asked)
    assert len(asked) + len(kept) == 21
    assert (folders[0] / "a.jsonl").read_bytes() == whole


def test_answers_of_other_settings_on_one_disk_end_all(tmp_path: Path) -> None:
    def other(member: Member) -> Answered | None:
        folder = tmp_path / str(member.rank)
        return answered(items(), Scripted(lambda item: "yes"), folder / "a.jsonl", {"prompt": "other"}, 8, 2, processes=member)

    ask(Alone(), tmp_path / "1")
    first, second = together(2, other)
    assert isinstance(second, Mismatch)
    assert isinstance(first, Lost)
    assert "start the same command again" in str(first)


def test_work_is_shared_by_cost_and_the_costliest_comes_first() -> None:
    def about(number: int, questions: int, words: int) -> list[Item]:
        return [Item(f"{number}/{i}", f"p{number}", picture, f"{i} " + "word " * words) for i in range(questions)]

    sizes = [(1, 1), (9, 1), (1, 90), (1, 2), (9, 50), (2, 2)]
    many = [item for number, (questions, words) in enumerate(sizes) for item in about(number, questions, words)]
    batches = batched(many, 1)
    assert [batch[0].picture for batch in batches] == ["p0", "p3", "p2", "p5", "p1", "p4"]  # by questions, then by their length
    given = shares(batches, range(6), 2)
    assert given == shares(batches, reversed(range(6)), 2)
    assert sorted(given[0] + given[1]) == list(range(6))
    assert all(sorted(share, key=lambda index: -cost(batches[index])) == share for share in given)
    loads = [sum(cost(batches[index]) for index in share) for share in given]
    assert max(loads) <= max(max(map(cost, batches)), sum(map(cost, batches)) * 2 / 3)  # Graham's bound for two
    assert shares(batches, [], 2) == [[], []]


def test_a_plain_command_stays_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert isinstance(processes(), Alone)
    assert not torch.distributed.is_initialized()
