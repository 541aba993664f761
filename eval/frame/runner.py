"""Answers of a model to the items of a benchmark: in fixed batches, by one process or by many, resumed after a kill.

Every number is computed in the batch in which an undisturbed run of one process would have computed it, so the rows are the same to the bit.
"""
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from eval.frame.batches import Key, batched, key_of, limited, shares
from eval.frame.benchmark import Item, Row
from eval.frame.cost import Meter, total
from eval.frame.journal import Done, Journal, Mismatch, append
from eval.frame.processes import Alone, Processes

__all__ = ["Answer", "Answered", "Answerer", "Mismatch", "answered", "limited", "run"]


@dataclass(frozen=True)
class Answer:
    """Greedy text, and of each candidate as the whole answer, its end included, the log-probability and the number of tokens.

    generated: tokens of the text, its end included. forwards: forward passes that this answer took part in, where several share a row its part of it;
    both are 0 of who does not count.
    """

    text: str
    logp: dict[str, float] | None = None
    tokens: dict[str, int] | None = None
    generated: int = 0
    forwards: float = 0.0


class Answerer(Protocol):
    """What an evaluation needs of a model. identity: which weights, so that answers of others are not taken for its own. lever: what is steered.
    config: what it is made of."""

    identity: Row
    lever: Row | None
    config: Row

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        """One answer per item, in order. Items of one picture are neighbours."""


class Answered(NamedTuple):
    """rows: of all items, in order. cost: of all answers (`eval.frame.cost.total`)."""

    rows: list[Row]
    cost: Row


def run(
    items: Sequence[Item], answerer: Answerer, path: Path, settings: Row, max_new_tokens: int, batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """`answered` by this process alone: the rows."""
    found = answered(items, answerer, path, settings, max_new_tokens, batch_size, progress)
    assert found is not None, "one process alone is process 0"
    return found.rows


def answered(
    items: Sequence[Item], answerer: Answerer, path: Path, settings: Row, max_new_tokens: int, batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None, processes: Processes | None = None, device: str = "cpu", overwrite: bool = False,
) -> Answered | None:
    """Answer all items and return their rows, in order: each item's `row` with id, picture, answer, logp and tokens. None on processes other than 0.

    path: the answers file (`eval.frame.journal`); what it and its parts already hold is not asked again. batch_size: pictures a batch. device:
    whose memory is measured. overwrite: discard answers that an earlier run left. Raises Mismatch if a file was made with other settings or for
    other items, Lost if another process ends, and whatever the answerer raises; the batches so far are then kept.
    """
    crew = processes or Alone()
    batches = batched(items, batch_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path, settings, batches)
    if overwrite:
        journal.discard()
    everywhere = crew.gather(journal.read())  # whoever writes has been waited for: nobody reads while another writes
    found = {index: done for each in everywhere or () for index, done in each.items()}
    start, open_ones = crew.share((round(time.time(), 3), [i for i in range(len(batches)) if i not in found]))
    mine = _answer(journal, shares(batches, open_ones, crew.size)[crew.rank], answerer, max_new_tokens, progress, crew, start, device)
    gathered = crew.gather(mine)
    if gathered is not None:
        found.update({index: done for each in gathered for index, done in each.items()})
        journal.finish(found)
    crew.share(True)  # the answers file is there
    journal.clear()
    return None if gathered is None else Answered(_rows(items, batches, found), total(
        [done.spent for done in found.values() if done.spent], sum(map(len, batches)), device.partition(":")[0]))


def _answer(journal: Journal, indices: Sequence[int], answerer: Answerer, max_new_tokens: int, progress: Callable[[int, int], None],
            crew: Processes, start: float, device: str) -> dict[int, Done]:
    """Those batches, each written down before the next is begun."""
    found: dict[int, Done] = {}
    if not indices:
        return found
    meter = Meter(device, start, crew.rank, crew.size)
    answers, all_answers = 0, sum(len(journal.batches[index]) for index in indices)
    with journal.append_as(crew.rank) as file:
        for index in indices:
            batch = journal.batches[index]
            meter.begin()
            said = answerer.answer(batch, max_new_tokens)
            spent = meter.end(said)
            found[index] = Done([_line(item, answer) for item, answer in zip(batch, said, strict=True)], spent)
            append(file, index, found[index])
            answers += len(batch)
            if crew.rank == 0:
                progress(answers, all_answers)
    return found


def _line(item: Item, answer: Answer) -> Row:
    """Without anything that differs between two runs."""
    logp, tokens = answer.logp, answer.tokens
    return {"picture": item.picture, "question": item.question, "answer": answer.text,
            **({"logp": {text: round(value, 6) for text, value in sorted(logp.items())}} if logp else {}),
            **({"tokens": dict(sorted(tokens.items()))} if tokens else {})}


def _rows(items: Sequence[Item], batches: Sequence[Sequence[Item]], found: dict[int, Done]) -> list[Row]:
    answers: dict[Key, Row] = {
        key_of(item): row for index, batch in enumerate(batches) for item, row in zip(batch, found[index].answers, strict=True)}
    return [{**item.row, "id": item.id, "picture": item.picture, "answer": said["answer"], "logp": said.get("logp"), "tokens": said.get("tokens")}
            for item in items for said in (answers[key_of(item)],)]
