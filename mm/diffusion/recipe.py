"""An edit as a file says it: which levers, how to get back from a picture, how to sample."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from mm.diffusion.dynamic.learning import Learning
from mm.diffusion.dynamic.nouns import Nouns
from mm.diffusion.edit import Edit
from mm.diffusion.inversion import DDIM, Direct, Inversion, NullText
from mm.parts import build

PARTS = ("edits", "inversion", "words", "nouns", "steps", "guidance")


@dataclass(frozen=True)
class Recipe:
    """edits: applied in this order. inversion: for pictures that are given. steps: of the sampler. guidance: classifier-free, or what a distilled
    model is told. words: how nouns of a given picture's caption are learned before it is edited, None for words as they are. nouns: what finds them
    where a request names none.

    Defaults are those of Prompt-to-Prompt's notebooks, except that sources are held to their trajectory instead of optimised.
    """

    edits: tuple[Edit, ...] = ()
    inversion: Inversion = field(default_factory=Direct)
    steps: int = 50
    guidance: float = 7.5
    words: Learning | None = None
    nouns: Nouns | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.guidance >= 0:
            raise ValueError(f"a recipe samples 1 step or more under a guidance of 0 or more; got {self.steps} steps and guidance {self.guidance}")
        for edit in self.edits:
            if not isinstance(edit, Edit):
                raise ValueError(f"a recipe's edits are of mm.diffusion.Edit; got {type(edit).__name__}")
        if not isinstance(self.inversion, Inversion):
            raise ValueError(f"a recipe's inversion is one of mm.diffusion.inversion; got {type(self.inversion).__name__}")
        if self.words is not None and not isinstance(self.words, Learning):
            raise ValueError(f"a recipe's words are learned by one of mm.diffusion.dynamic, such as DPL; got {type(self.words).__name__}")
        if self.words is not None and not isinstance(self.inversion, DDIM | Direct):
            raise ValueError(f"words are learned along a DDIM inversion, and hold to it by what they are told as `following`; got "
                             f"{type(self.inversion).__name__}: use Direct, which puts the source back besides, or DDIM")
        optimised = self.inversion if self.words is None else self.words.following
        if isinstance(optimised, NullText) and optimised.guidance != self.guidance:
            raise ValueError(f"null texts optimised for guidance {optimised.guidance} do not hold the source under {self.guidance}; give both "
                             "the same")


def recipe(content: Mapping[str, Any]) -> Recipe:
    """Built of the plain values of a YAML: `edits`, a list of import paths with init_args, `inversion`, `words` and `nouns`, one such each, `steps`,
    `guidance`."""
    for name in content:
        if name not in PARTS:
            near = get_close_matches(str(name), PARTS, n=1)
            raise ValueError(f"a recipe has no {name}" + (f"; did you mean {near[0]}?" if near else "") + f" It has {', '.join(PARTS)}")
    edits = content.get("edits") or []
    if not isinstance(edits, Sequence) or isinstance(edits, str):
        raise ValueError(f"a recipe's edits are a list, and here they are a {type(edits).__name__}; put a dash before each")
    given = {name: content[name] for name in ("steps", "guidance") if name in content}
    given |= {name: build(content[name]) for name in ("inversion", "words", "nouns") if content.get(name)}
    return Recipe(tuple(build(edit) for edit in edits), **given)


def read_recipe(path: Path) -> Recipe:
    """Of a YAML file such as those in configs/edit/recipe. ValueError that names the file for anything else."""
    content = read_content(path)
    try:
        return recipe(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_content(path: Path) -> dict[str, Any]:
    """What the YAML file of a recipe says, not yet built. ValueError for a file that says nothing."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the recipe {path}: {error}") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds {'nothing' if not content else type(content).__name__}; "
                         f"a recipe is like those in configs/edit, with {', '.join(PARTS)}")
    return content
