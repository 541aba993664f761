"""What the files of every harness are made of: items of a benchmark as text and PNG, and the options on the command line."""
import io
from collections.abc import Iterator, Sequence
from inspect import signature
from itertools import takewhile
from typing import TypeVar

import numpy as np
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser
from PIL import Image

from eval.frame.benchmark import Benchmark, Item, Row
from eval.frame.find import benchmark_class
from mm.models.layout import LEAD, PLACEHOLDER
from mm.sample import PLACEHOLDERS

T = TypeVar("T")


def text_of(item: Item) -> str:
    """The question without the placeholders at its head: a harness places pictures itself. ValueError for a clip, for a placeholder inside the
    text, and where the item begins the answer: these files have no place for that."""
    if PLACEHOLDERS["clip"] in item.question:
        raise ValueError(f"item {item.id}: it is about a clip, and these files hold pictures only")
    text = LEAD.sub("", item.question, count=1)
    if PLACEHOLDER.search(text) or item.prefix:
        what = "begins the answer" if item.prefix else "places a picture inside its text"
        raise ValueError(f"item {item.id}: it {what}, and these files have no place for that")
    return text


def pngs(item: Item) -> list[bytes]:
    """Its pictures, without loss."""
    return [_png(medium.frames[0]) for medium in item.media()]


def yes_or_no(row: Row) -> str | None:
    """The truth about a question that has one of the two for an answer."""
    return next((row[name] for name in ("label", "truth") if row.get(name) in ("yes", "no")), None)


def labelled(item: Item) -> str:
    """The same of an item. ValueError where it has another truth."""
    label = yes_or_no(item.row)
    if label is None:
        raise ValueError(f"item {item.id}: the answer to it is neither yes nor no, which a task of yes/no questions needs")
    return label


def parse(prog: str, description: str, options: type[T], given: Sequence[str]) -> tuple[T, dict[str, Benchmark]]:
    """`<benchmark> ... --<option> ... --<benchmark>.<option> ...`: the options, and the benchmarks that stand before them. ValueError for what there
    is not."""
    names = list(takewhile(lambda text: not text.startswith("-"), given))
    if not names and not {"-h", "--help"} & set(given):
        raise ValueError(f"name the benchmarks first: {prog} pope --out ...")
    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML with any of these options")
    parser.add_class_arguments(options, instantiate=False)
    for name in names:
        parser.add_class_arguments(benchmark_class(name), name, instantiate=False)
    try:
        found = parser.instantiate(parser.parse_args(list(given[len(names):])))
    except ArgumentError as error:
        raise ValueError(str(error)) from error
    own = {name: benchmark_class(name)(**dict(found[name].items())) for name in names}
    return options(**{name: found[name] for name in signature(options).parameters}), own


def by_split(items: Sequence[Item]) -> Iterator[tuple[str, list[Item]]]:
    """Splits in order of first occurrence, with their items."""
    for split in dict.fromkeys(item.split for item in items):
        yield split, [item for item in items if item.split == split]


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
