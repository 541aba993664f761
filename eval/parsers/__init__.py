"""How published harnesses read an answer. Most differences between numbers of "the same" benchmark come from this stage, so readers have names.

A reader is a module of this package, found by name, with one function a kind of answer: `yes_no(text) -> "yes" | "no" | None`, where None means that
no rule matched, and `choice(text, letters) -> str`: of the options with these letters, those that the reader takes for chosen. It is "" where no rule
matched, and several letters where a harness only compares with the truth, in a way that several options would pass. A benchmark's own official reader
lives with the benchmark.
"""
from collections.abc import Callable
from importlib import import_module
from typing import Literal, cast

Reader = Literal["official", "lmms_eval", "video_ccam", "vlmevalkit", "strict"]


def reader(name: str, kind: str) -> Callable[[str], str | None]:
    """The function `kind` of the reader module `name`, e.g. ("strict", "yes_no"). Raises ValueError when that reader has no such rule."""
    return cast(Callable[[str], str | None], _rule(name, kind))


def chooser(name: str, kind: str = "choice") -> Callable[[str, str], str]:
    """Likewise for multiple choice."""
    return cast(Callable[[str, str], str], _rule(name, kind))


def _rule(name: str, kind: str) -> object:
    module = import_module(f"eval.parsers.{name}")
    if not hasattr(module, kind):
        raise ValueError(f"parser {name!r} has no rule for {kind} answers; choose another --parser")
    return getattr(module, kind)
