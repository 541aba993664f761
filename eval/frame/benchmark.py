"""A benchmark: items to answer, and pure stages parse -> score -> aggregate over plain rows."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from eval.frame.intervals import Score
from mm.sample import Media

Row = dict[str, Any]  # plain JSON values only


@dataclass(frozen=True)
class Item:
    """One question to the model.

    id: unique within the benchmark. picture: name of what it is asked about; items of the same picture and media share the image's encoding.
    media: reads the images or clips, called only when the item is answered. question: text as given to the model, placeholders included.
    row: the truth, as plain JSON values, that scoring needs. candidates: answers whose log-probabilities are recorded beside the text, () for none.
    context: reads the same picture with its objects erased, where that is known. split: part of the benchmark that a limit counts by itself.
    prefix: what the answer begins with, given to the model and no part of its answer; not together with candidates.
    max_new_tokens: of its answer, where that is less than the benchmark's.
    """

    id: str
    picture: str
    media: Callable[[], tuple[Media, ...]]
    question: str
    row: Row = field(default_factory=dict)
    candidates: tuple[str, ...] = ()
    context: Callable[[], tuple[Media, ...]] | None = None
    split: str = ""
    prefix: str = ""
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Scored:
    """What scoring gives: metrics by name, rows that were scored, answers that matched no rule of the parser, and remarks for the reader."""

    scores: Mapping[str, Score]
    n: int
    unparsed: int
    remarks: tuple[str, ...] = ()


class Benchmark(ABC):
    """Items, and what to do with the answers. A subclass in eval/<name>.py is the benchmark <name>; its constructor arguments are its options."""

    max_new_tokens: int  # of an answer, where its item says nothing else
    parsers: ClassVar[tuple[str, ...]] = ("official",)

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """All items in the official order."""

    def check(self, parser: str) -> None:  # noqa: B027
        """Raises ValueError for what would keep answers from being read by this parser, before any is given."""

    def consult(self, rows: Sequence[Row], folder: Path, parser: str) -> Sequence[Row]:
        """All answered rows, joined by what another model has to say about them before they are judged; as they are unless a benchmark asks one.
        folder: of the results, where replies are kept, so that nobody is asked twice. parser: one may read without a judge."""
        return rows

    @abstractmethod
    def judge(self, row: Row, parser: str) -> Row:
        """Parse and score one answer. row: an item's `row` plus `id`, `picture`, `answer` (text), and of an item with candidates `logp` and `tokens`,
        each candidate's log-probability and length (else None). Returns the verdict, which joins the row: plain JSON values, with `correct` (bool)
        where an answer is right or wrong as a whole."""

    def cluster(self, row: Row) -> str:
        """What stays together when a comparison draws answers: those about one picture. A benchmark that scores several pictures as one, such as
        pairs, names what they are of."""
        return str(row["picture"])

    @abstractmethod
    def aggregate(self, rows: Sequence[Row]) -> Scored:
        """Metrics of judged rows."""

    @abstractmethod
    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        """Files in the benchmark's official format, on which the official scorer runs: name -> records, written as JSON-lines, as one array where the
        name ends in "official.json", or as values between tabs where it ends in ".txt"."""

    def reading(self, parser: str) -> Row:
        """What besides the answers and the parser's name decides the verdicts: a judge, and what it is asked. Answers stay when it changes."""
        return {}

    def settings(self) -> Row:
        """What besides the model decides the answers: prompt, protocol, data."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items() if not name.startswith("_")}
