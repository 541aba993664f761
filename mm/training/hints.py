"""Errors of the command line in a few lines: what was wrong, and which valid name is nearest."""
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

LINES = 6
NOISE = ("Subtypes: [", "Errors:", "Expected a <class 'NoneType'>", "Given value type:", "Does not validate against any", "- Expected a path but")
LEVERS = {"mask": "mm.masks", "positions": "mm.positions", "vision": "mm.vision", "projector": "mm.streams", "language": "mm.language",
          "layout": "mm.models", "schedule": "mm.training.schedule", "optim": "mm.training", "train": "data.world", "val": "data.world"}


class Parser(LightningArgumentParser):
    """Without the hundreds of lines of usage: the last lines of the message, and a suggestion. A key is written out; its beginning is not enough."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_abbrev = False

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        parser = getattr(ex, "subcommand_parser", None) or self
        lines = [line.strip() for line in message.strip().splitlines() if line.strip() and not any(word in line for word in NOISE)]
        shown = lines if len(lines) <= LINES else [lines[0], "...", *lines[1 - LINES:]]
        hints = suggestions("\n".join(lines), parser.keys())
        sys.stderr.write("error: " + "\n  ".join([*shown, *hints]) + "\n")
        self.exit(2)

    def keys(self) -> list[str]:
        """Every key that a configuration may hold, of this parser and those below."""
        parsers = [self, *getattr(getattr(self, "_subcommands_action", None), "_name_parser_map", {}).values()]
        return sorted({action.dest for parser in parsers for action in parser._actions if not action.dest.endswith(("help", "config"))})


def suggestions(message: str, keys: Iterable[str]) -> list[str]:
    """Lines to add to an error: the nearest key for each unknown one; the classes of the lever and the nearest of them for a wrong class."""
    files = [nearest_file(path) for path in re.findall(r"File does not exist: '([^']+)'", message)]
    return [*files, *key_hints(message, list(keys)), *class_hints(message)]


def key_hints(message: str, keys: list[str]) -> list[str]:
    unknown = re.findall(r"--([\w.]+)", message) if "nrecognized arguments" in message else []
    for form in (
            r"[Kk]ey '?([\w.]+)'? is not expected", r"[Oo]ption '([\w.]+)' is not accepted", r"does not accept (?:option|key|nested key) '([\w.]+)'"):
        unknown += re.findall(form, message)
    hints = []
    for key in dict.fromkeys(unknown):
        tails = {valid.rsplit(".", 1)[-1]: valid for valid in keys}
        near = get_close_matches(key, keys, n=2, cutoff=0.6) or [tails[tail] for tail in get_close_matches(key.rsplit(".", 1)[-1], tails, n=2)]
        if near:
            hints.append(f"{key!r} is unknown; did you mean {' or '.join(near)}?")
    return hints


def class_hints(message: str) -> list[str]:
    hints = []
    for package, name in re.findall(r"\b((?:mm|data|eval)(?:\.[a-z_]\w*)*)\.([A-Z]\w*)", message):
        names = names_in(package)
        if names and name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hints.append(f"there is no {name} in {package}; " + (f"did you mean {package}.{near[0]}?" if near else f"it has {', '.join(names)}."))
    lever = re.search(r"\bmodel\.(\w+)|\bdata\.(train|val)\b", message)
    name = lever and (lever[1] or lever[2])
    if name in LEVERS and any(word in message for word in ("import path", "class_path", "subclass", "Problem with given class")):
        known = [f"{LEVERS[name]}.{found}" for found in names_in(LEVERS[name])]
        hints += [f"classes for {name}: {', '.join(known[:12])}."] if known else []
    return list(dict.fromkeys(hints))


def names_in(package: str) -> list[str]:
    """Public classes of a package; none if there is no such package."""
    try:
        module = import_module(package)
    except ImportError:
        return []
    found = {name: getattr(module, name) for name in getattr(module, "__all__", None) or vars(module)}
    return sorted(name for name, value in found.items() if isinstance(value, type) and not issubclass(value, Exception) and not isabstract(value))


def nearest_file(path: str) -> str:
    """What may be meant by a file that does not exist."""
    folder = Path(path).parent
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    near = get_close_matches(Path(path).name, names, n=1)
    return f"did you mean {folder / near[0]}?" if near else f"{folder} holds {', '.join(names[:6]) or 'nothing'}."
