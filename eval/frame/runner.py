"""Answers of a model to the items of a benchmark: batched by picture, appended to a file as they come, resumed after a kill.

The answers file is JSON-lines: the settings that decide the answers, then one line per distinct (picture, question) in a fixed order. Batches are
fixed too, and only whole batches count when a run is resumed, so that a resumed run computes every number in the batch in which an unbroken run
would have computed it.
"""
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from eval.frame.benchmark import Item, Row

Key = tuple[str, str]  # picture, question


@dataclass(frozen=True)
class Answer:
    """Greedy text, and of each candidate as the whole answer, its end included, the log-probability and the number of tokens."""

    text: str
    logp: dict[str, float] | None = None
    tokens: dict[str, int] | None = None


class Answerer(Protocol):
    """What an evaluation needs of a model. identity: which weights, so that answers of others are not taken for its own. lever: what is steered.
    config: what it is made of."""

    identity: Row
    lever: Row | None
    config: Row

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        """One answer per item, in order. Items of one picture are neighbours."""


class Mismatch(ValueError):
    """An answers file that was made with other settings."""


def run(
    items: Sequence[Item], answerer: Answerer, path: Path, settings: Row, max_new_tokens: int, batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Answer all items and return their rows, in order: each item's `row` with id, picture, answer and logp.

    path: the answers file; what it already holds is not asked again. batch_size: pictures a batch. Raises Mismatch if the file was made with other
    settings or for other items, and whatever the answerer raises; the answers so far are then kept.
    """
    batches = list(_batched(_distinct(items), batch_size))
    total = sum(len(batch) for batch in batches)
    path.parent.mkdir(parents=True, exist_ok=True)
    answers, done = _resume(path, settings, batches)
    with path.open("ab") as file:
        for batch in batches[done:]:
            found = answerer.answer(batch, max_new_tokens)
            lines: dict[Key, Row] = {
                key_of(item): {"picture": item.picture, "question": item.question, "answer": a.text, **({"logp": _rounded(a.logp)} if a.logp else {}),
                               **({"tokens": dict(sorted(a.tokens.items()))} if a.tokens else {})}
                for item, a in zip(batch, found, strict=True)}
            file.write(b"".join(_line(line) for line in lines.values()))
            file.flush()
            os.fsync(file.fileno())
            answers.update(lines)
            progress(len(answers), total)
    return [{**item.row, "id": item.id, "picture": item.picture, "answer": found["answer"], "logp": found.get("logp"), "tokens": found.get("tokens")}
            for item in items for found in (answers[key_of(item)],)]


def key_of(item: Item) -> Key:
    return item.picture, item.question


def limited(items: Sequence[Item], pictures: int | None) -> list[Item]:
    """Items of the first `pictures` pictures of each split, in order; all of them for None."""
    if pictures is None:
        return list(items)
    seen: dict[str, dict[str, None]] = {}
    for item in items:
        seen.setdefault(item.split, {})[item.picture] = None
    kept = {split: set(islice(names, pictures)) for split, names in seen.items()}
    return [item for item in items if item.picture in kept[item.split]]


def _distinct(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Items with distinct questions, by picture: splits that share a question ask it once."""
    found: dict[str, dict[Key, Item]] = {}
    for item in items:
        found.setdefault(item.picture, {}).setdefault(key_of(item), item)
    return {picture: list(questions.values()) for picture, questions in found.items()}


def _batched(pictures: dict[str, list[Item]], size: int) -> Iterable[list[Item]]:
    """Batches of `size` pictures; pictures with equally many questions come together, so that little is padded."""
    order = sorted(pictures.values(), key=len)  # stable
    for start in range(0, len(order), size):
        yield [item for items in order[start:start + size] for item in items]


def _resume(path: Path, settings: Row, batches: Sequence[Sequence[Item]]) -> tuple[dict[Key, Row], int]:
    """Answers of whole batches that the file holds, and how many batches. Cuts the file behind them; starts it if there is none."""
    header = _line({"settings": settings})
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if not lines or not lines[0].endswith(b"\n"):
        path.write_bytes(header)
        return {}, 0
    if lines[0] != header:
        raise Mismatch(f"{path} holds answers made with other settings: {_difference(lines[0], settings)}. Give another --out, or --overwrite true.")
    answers: dict[Key, Row] = {}
    place, done = 1, 0
    for batch in batches:
        part = [_read(line) for line in lines[place:place + len(batch)]]
        if len(part) < len(batch) or part[-1] is None:  # the batch that was being written
            break
        for found, item in zip(part, batch, strict=True):
            if found is None or (found.get("picture"), found.get("question")) != key_of(item):
                raise Mismatch(f"{path}: no answer to item {item.id} where it should be. Give another --out, or --overwrite true.")
            answers[key_of(item)] = found
        place, done = place + len(batch), done + 1
    os.truncate(path, sum(len(line) for line in lines[:place]))
    return answers, done


def _line(record: Row) -> bytes:
    return json.dumps(record, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _read(line: bytes) -> Row | None:
    try:
        found = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _rounded(logp: dict[str, float]) -> dict[str, float]:
    return {text: round(value, 6) for text, value in sorted(logp.items())}  # in the order in which the file is read back


def _difference(line: bytes, settings: Row) -> str:
    old: Any = (_read(line) or {}).get("settings")
    if not isinstance(old, dict):
        return "its first line states none"
    new = json.loads(json.dumps(settings))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in names)
