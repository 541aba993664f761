"""Which module a run trains, seen before its arguments are parsed: the parser needs to know."""
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def names_its_class(args: Any) -> bool:
    """Whether the command line, or a configuration file that it names, says by `class_path` or by a bare import path what `model` is."""
    if isinstance(args, dict):
        return any(has_class(content.get("model")) for content in (args, args.get(args.get("subcommand", ""), {})))
    words = list(args or ())
    return any(has_class(value) for value in values(words, "--model")) or bool(list(values(words, "--model.class_path"))) \
        or any(has_class(model_in(file)) for name in ("--config", "-c") for file in values(words, name))


def values(words: list[str], name: str) -> Iterator[str]:
    """What follows `name` on the command line, behind it or behind an equals sign."""
    for place, word in enumerate(words):
        if word == name and place + 1 < len(words):
            yield words[place + 1]
        elif word.startswith(f"{name}="):
            yield word.partition("=")[2]


def model_in(file: str) -> Any:
    """What a configuration file says of `model`; nothing where it cannot be read, which the parser will say better."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return content.get("model") if isinstance(content, dict) else None


def has_class(model: Any) -> bool:
    return (isinstance(model, dict) and "class_path" in model) or (isinstance(model, str) and "." in model)
