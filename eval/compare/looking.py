"""Where both runs looked, for a few of the answers that are shown: each answer read again by its model under its lever."""
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.compare.choosing import Shown
from eval.compare.runs import Answered, Run
from eval.compare.shots import SIZE, embedded
from eval.frame.benchmark import Item, Row
from eval.frame.model import fingerprint
from mm.analysis import Look, looks, overlay, seen
from mm.levers import LEVERS, pulled, under
from mm.models import VLM
from mm.sample import Sample, Turn


@dataclass(frozen=True)
class Map:
    """An overlay as a data URI, and what it shows."""

    uri: str
    label: str


Key = tuple[str, str]  # benchmark, item
Maps = dict[Key, tuple[Map | None, ...]]  # a map of each run


@dataclass(frozen=True, eq=False)
class Read:
    """An answer read again by the model that gave it. looks: one a token."""

    sample: Sample
    vlm: VLM
    looks: Sequence[Look]


def maps(
    runs: Sequence[Run], shown: Sequence[Shown], items: dict[str, dict[str, Item]], models: Sequence[str], device: str,
) -> tuple[Maps, list[str]]:
    """Maps of every run for the items `shown`, and a remark for each run without. models: directories of the runs' models, or one of all,
    () for those in which their results lie. ValueError for another number of them.

    The maps are those of the first token by which the answers part: all runs then have read the same, so that nothing but the method moves the light.
    """
    if models and len(models) not in (1, len(runs)):
        raise ValueError(f"--models names {len(models)} models for {len(runs)} runs; name one for all of them, or one each")
    models = [*models] * len(runs) if len(models) == 1 else models
    reads: list[dict[Key, Read]] = []
    remarks = []
    for place, run in enumerate(runs):
        try:
            reads.append(_read(run, place, shown, items, models[place] if models else None, device))
        except (ValueError, OSError, RuntimeError, TypeError) as error:
            reads.append({})
            remarks.append(f"no maps of where {run.name} looked: {error}")
    return {key: _drawn([of_run.get(key) for of_run in reads]) for key in ((each.benchmark, each.id) for each in shown)}, remarks


def _read(run: Run, place: int, shown: Sequence[Shown], items: dict[str, dict[str, Item]], model: str | None, device: str) -> dict[Key, Read]:
    found, loaded = {}, dict[Path, VLM]()
    for each in shown:
        answered = run.results[each.benchmark]
        item, home = items[each.benchmark][each.id], _home(answered, model)
        if home not in loaded:
            loaded[home] = VLM.load(home).to(device).eval()
        sample = Sample(item.id, item.media(), (Turn(item.question, item.prefix + each.rows[place]["answer"]),))
        with steered(loaded[home], answered.result.lever):
            found[each.benchmark, each.id] = Read(sample, loaded[home], looks(loaded[home], [sample])[0])
    return found


def _drawn(reads: Sequence[Read | None]) -> tuple[Map | None, ...]:
    """On one scale, so that the maps compare."""
    token = parting([[look.token for look in read.looks] for read in reads if read is not None])
    chosen = [None if read is None else read.looks[token] for read in reads]
    values = np.concatenate([look.maps[0].ravel() for look in chosen if look is not None] or [np.zeros(1)])
    scale = float(values.min()), float(values.max())
    found: list[Map | None] = []
    for read, look in zip(reads, chosen, strict=True):
        if read is None or look is None:
            found.append(None)
            continue
        frame = int(look.maps[0].sum((1, 2)).argmax())
        drawn = overlay(seen(read.vlm, read.sample.media[0].frames[frame]), look.maps[0][frame], SIZE, scale=scale)
        found.append(Map(embedded(drawn), f"writing “{look.token}”, {look.mass:.0%} of attention on the picture"))
    return tuple(found)


def parting(answers: Sequence[Sequence[str]]) -> int:
    """Number of the first token by which the answers differ; 0 where they do not."""
    return next((place for place, tokens in enumerate(zip(*answers, strict=False)) if len(set(tokens)) > 1), 0)


def _home(answered: Answered, given: str | None) -> Path:
    """The directory of a run's model, with the weights that answered. ValueError."""
    home, identity = Path(given) if given else answered.path.parent.parent, answered.result.config.get("model") or {}
    weights = identity.get("weights")
    if more := sorted(set(identity) - {"name", "weights", "dtype"}):
        raise ValueError(f"the model of {answered.path.name} has {', '.join(more)}, and maps are drawn of models assembled here, as they are")
    if not home.is_dir() or fingerprint(home) != weights:
        raise ValueError(f"{home} is not the directory of the model that gave {answered.path.name} (other weights or none); name it with --models")
    return home


def steered(vlm: VLM, lever: Row | None) -> AbstractContextManager[Any]:
    """`vlm` under the lever that a result states. ValueError for one that has more than attention shows."""
    if unknown := [name for name in lever or {} if name not in LEVERS.keys() - {"decoding"} | {"file"}]:
        raise ValueError(f"its lever has {', '.join(unknown)}, which maps of attention do not show")
    return under(vlm, pulled(lever))
