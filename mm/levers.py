"""The levers of a YAML file: checked before a model is loaded, built, and pulled for a while."""
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from difflib import get_close_matches
from inspect import isabstract
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mm.decoding import Decoding
from mm.keep import Keep
from mm.masks import Mask
from mm.models import VLM, Layout, steer
from mm.models.pretrained import PretrainedVLM
from mm.parts import build
from mm.positions import Positions
from mm.reweight import Rule

LEVERS: dict[str, type] = {"mask": Mask, "positions": Positions, "reweight": Rule, "keep": Keep, "layout": Layout, "decoding": Decoding}


class Pulled(NamedTuple):
    """Levers, and a way of decoding, each None where the model's own stays."""

    mask: Mask | None = None
    positions: Positions | None = None
    reweight: list[Rule] | None = None
    keep: Keep | None = None
    layout: Layout | None = None
    decoding: Decoding | None = None


def pulled(lever: Mapping[str, Any] | None) -> Pulled:
    """Built anew of what `read_lever` gives, as rules may keep what they saw."""
    lever = lever or {}
    parts = {name: build(lever[name]) for name in ("mask", "positions", "keep", "layout", "decoding") if lever.get(name)}
    return Pulled(**parts, reweight=[build(rule) for rule in lever["reweight"]] if "reweight" in lever else None)


def under(vlm: VLM | PretrainedVLM, levers: Pulled) -> AbstractContextManager[Any]:
    """Within, `vlm` reads under these levers; afterwards it is as before. The way of decoding is left to who decodes. ValueError for the layout of a
    pretrained model."""
    return _pretrained(vlm, levers) if isinstance(vlm, PretrainedVLM) else _assembled(vlm, levers)


@contextmanager
def _assembled(vlm: VLM, levers: Pulled) -> Iterator[None]:
    before = vlm.layout
    with steer(vlm, levers.mask, levers.positions, levers.reweight, levers.keep):
        try:
            vlm.layout = levers.layout or before
            yield
        finally:
            vlm.layout = before


def _pretrained(vlm: PretrainedVLM, levers: Pulled) -> AbstractContextManager[Any]:
    if levers.layout is not None:
        raise ValueError(f"{type(vlm.model).__name__} lays its prompts out as its chat template says, and {type(levers.layout).__name__} "
                         "cannot change that; leave layout out of the lever")
    if levers._replace(decoding=None) == Pulled():
        return nullcontext()
    return steer(vlm.model, levers.mask, levers.positions, levers.reweight, levers.keep)


def read_lever(path: Path) -> dict[str, Any]:
    """{"file", and any of `LEVERS`} of a YAML file, at its top level or under `model:` as in configs/lever. ValueError for anything else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the lever {path}: {error}") from error
    content = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} has {'nothing' if content == {} else type(content).__name__}; a lever of an evaluation has {', '.join(LEVERS)}, "
                         "each an import path with init_args, and reweight a list of them")
    for name, part in content.items():
        _check_part(path, str(name), part)
    return {"file": path.name, **content}


def _check_part(path: Path, name: str, part: Any) -> None:
    """Builds it: an error here names the part; later it would come after the model was loaded."""
    if name not in LEVERS:
        near = get_close_matches(name, LEVERS, n=1)
        raise ValueError(f"{path} has {name}" + (f"; did you mean {near[0]}?" if near else "") + f" A lever of an evaluation has {', '.join(LEVERS)}")
    if name == "reweight" and not isinstance(part, list):
        raise ValueError(f"{path}: reweight is a list of rules, and here it is a {type(part).__name__}; put a dash before the rule")
    descriptions = part if isinstance(part, list) else [] if part is None else [part]
    for description in descriptions:
        try:
            found = build(description)
        except ValueError as error:
            raise ValueError(f"{path}, {name}: {error}") from error
        if not isinstance(found, LEVERS[name]):
            raise ValueError(f"{path}, {name}: {type(found).__name__} is no {LEVERS[name].__name__}; "
                             f"give one of {', '.join(sorted(_named(LEVERS[name])))}")


def _named(kind: type) -> set[str]:
    """Classes of mm of that kind."""
    kinds: list[type] = kind.__subclasses__()
    return {each.__name__ for each in kinds if not isabstract(each) and each.__module__.startswith("mm.")}.union(*map(_named, kinds))
