"""How published harnesses read an answer. Most differences between numbers of "the same" benchmark come from this stage, so readers have names.

A reader is a module of this package, found by name, with one function a kind of answer: `yes_no(text) -> "yes" | "no" | None`. None means that no
rule matched. A benchmark's own official reader lives with the benchmark.
"""
from collections.abc import Callable
from importlib import import_module
from typing import Literal, cast

Reader = Literal["official", "lmms_eval", "vlmevalkit", "strict"]


def reader(name: str, kind: str) -> Callable[[str], str | None]:
    """The function `kind` of the reader module `name`, e.g. ("strict", "yes_no"). Raises ValueError when that reader has no such rule."""
    module = import_module(f"eval.parsers.{name}")
    if not hasattr(module, kind):
        raise ValueError(f"parser {name!r} has no rule for {kind} answers; choose another --parser")
    return cast(Callable[[str], str | None], getattr(module, kind))
