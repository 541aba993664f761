"""A VLM as an answerer: questions about one picture share one copy of it wherever the mask lets them."""
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from inspect import isabstract
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import yaml

import mm
from eval.frame.benchmark import Item, Row
from eval.frame.runner import Answer
from mm.keep import Keep
from mm.masks import Mask
from mm.models import VLM, Branches, Layout, Processor
from mm.models import Row as Encoded
from mm.models.batch import UNLABELLED
from mm.models.layout import LEAD, PLACEHOLDER
from mm.parts import build
from mm.positions import Positions
from mm.reweight import Rule
from mm.sample import BadSample, Media, Sample, Turn

T = TypeVar("T")
LEVERS: dict[str, type] = {"mask": Mask, "positions": Positions, "reweight": Rule, "keep": Keep, "layout": Layout}
BLOCKS, BLOCK = 64, 2**16  # of a weights file that make its fingerprint


Asked = tuple[Item, str]  # with one of its candidates


class Read(NamedTuple):
    """A candidate as the whole answer: log-probability, number of tokens, and whether greedy decoding gives it."""

    logp: float
    tokens: int
    is_greedy: bool


Forced = dict[str, dict[str, Read]]  # item id -> candidate


class Model:
    """The model in `directory`, under the levers of a YAML file.

    identity: name and fingerprint of the weights. lever: what is steered, None for the model as trained. config: what the model is made of.
    rows: of one forward pass.
    """

    def __init__(self, directory: str, lever: str | None = None, device: str = "cpu", rows: int = 16) -> None:
        self.vlm: VLM = VLM.load(directory).to(device).eval()
        self.rows = rows
        self.lever = read_lever(Path(lever)) if lever else None
        self.identity: Row = {"name": Path(directory).resolve().name, "weights": fingerprint(Path(directory))}
        self.config: Row = {"parts": self.vlm.rebuild()}
        run = Path(directory) / "config.yaml"
        if run.exists():
            self.config["run"] = yaml.safe_load(run.read_text(encoding="utf-8"))

    @torch.inference_mode()
    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        """Greedy text of each item; for an item with candidates also log p of each as the whole answer, its end included.

        Where greedy decoding would give a candidate, forcing the candidates has shown it already, and nothing is decoded.
        """
        media = {item.picture: item.media() for item in {item.picture: item for item in items}.values()}
        with self._steered():
            forced = self._force([item for item in items if item.candidates], media, max_new_tokens)
            texts = {id: text for id, verdicts in forced.items() for text, read in verdicts.items() if read.is_greedy}
            open_ended = [self._prompt(item, media[item.picture]) for item in items if item.id not in texts]
            for part in _parts(open_ended, self.rows):
                texts |= zip((sample.id for sample in part), self.vlm.generate(part, max_new_tokens=max_new_tokens), strict=True)
        return [_answer(texts[item.id], forced.get(item.id)) for item in items]

    def _prompt(self, item: Item, media: tuple[Media, ...]) -> Encoded:
        """A row that ends where the model is to answer, or to go on with the answer that the item begins for it."""
        processor, sample = self.vlm.processor, Sample(item.id, media, (Turn(item.question, item.prefix),))
        if not item.prefix:
            return processor.prompt(sample)
        row = processor.encode(sample)
        end = int(np.flatnonzero(np.isin(row.labels, processor.stop_ids))[0])
        labels = np.full(end, UNLABELLED)
        return replace(row, input_ids=row.input_ids[:end], labels=labels, weights=row.weights[:end], tables=row.tables[:, :end])

    def _force(self, items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], limit: int) -> Forced:
        """Every candidate read as the answer. limit: an answer of more tokens is not what decoding would give."""
        positions = self._in_branches()
        shared = positions is not None
        processor = Processor(self.vlm.language.tokenizer, self.vlm.geometry, Branches() if shared else self.vlm.layout, self.vlm.max_length)
        groups: dict[str, list[Asked]] = {}
        for item in items:
            for candidate in item.candidates:
                lead = _lead(item.question)
                together = shared and not PLACEHOLDER.search(item.question, len(lead))
                groups.setdefault(f"{item.picture} {lead}" if together else f"{item.id} {candidate}", []).append((item, candidate))
        rows = [row for group in groups.values() for row in _rows(processor, group, media[group[0][0].picture])]
        found: Forced = {item.id: {} for item in items}
        with mm.steer(self.vlm, positions=positions):
            for part in _parts(rows, self.rows):
                self._read(processor, part, limit, found)
        return found

    def _read(self, processor: Processor, rows: Sequence[tuple[Sequence[Asked], Encoded]], limit: int, found: Forced) -> None:
        batch = processor.collate([row for _, row in rows]).to(self.vlm.device)
        logits, targets, _ = self.vlm(batch)
        own = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].tolist()
        greedy = (logits.argmax(-1) == targets).tolist()
        at, length = batch.predict_at + 1, batch.input_ids.shape[1]
        owners = zip((at // length).tolist(), batch.tokens.turn.flatten()[at].tolist(), strict=True)
        stops, ended = set(processor.stop_ids), set[tuple[int, int]]()
        tokens: dict[tuple[int, int], list[tuple[float, bool]]] = {}
        for owner, target, logp, is_greedy in zip(owners, targets.tolist(), own, greedy, strict=True):
            if owner not in ended:  # what a template writes behind the end of an answer is not the model's to say
                tokens.setdefault(owner, []).append((logp, is_greedy))
                if target in stops:
                    ended.add(owner)
        for (b, turn), said in tokens.items():
            item, candidate = rows[b][0][turn]
            found[item.id][candidate] = Read(sum(logp for logp, _ in said), len(said), all(is_greedy for _, is_greedy in said) and len(said) <= limit)

    def _in_branches(self) -> Positions | None:
        """The positions under which questions behind one picture are answered as each alone; None where there are no such positions, or a lever lets
        questions know of each other.
        """
        vlm = self.vlm
        apart = isinstance(vlm.layout, Branches) or vlm.mask.shares_image_prefix
        return vlm.positions.in_branches() if apart and all(rule.shares_rows or rule.is_neutral for rule in vlm.reweight) else None

    @contextmanager
    def _steered(self) -> Iterator[None]:
        lever = self.lever or {}
        mask, positions, keep, layout = (build(lever[name]) if lever.get(name) else None for name in ("mask", "positions", "keep", "layout"))
        rules = [build(rule) for rule in lever["reweight"]] if "reweight" in lever else None
        before = self.vlm.layout
        with mm.steer(self.vlm, mask, positions, rules, keep):
            try:
                self.vlm.layout = layout or before
                yield
            finally:
                self.vlm.layout = before


def _answer(text: str, candidates: Mapping[str, Read] | None) -> Answer:
    if candidates is None:
        return Answer(text)
    return Answer(text, {said: read.logp for said, read in candidates.items()}, {said: read.tokens for said, read in candidates.items()})


def _rows(processor: Processor, group: Sequence[Asked], media: tuple[Media, ...]) -> list[tuple[Sequence[Asked], Encoded]]:
    """The group in one row, or in halves of halves where a row is too long or its questions cannot share a trunk. BadSample if one alone is bad."""
    first, *others = ((item.question, candidate) for item, candidate in group)
    turns = [Turn(*first), *(Turn(question[len(_lead(question)):], candidate) for question, candidate in others)]
    try:
        return [(group, processor.encode(Sample(group[0][0].id, media, tuple(turns))))]
    except BadSample:
        if len(group) == 1:
            raise
    half = len(group) // 2
    return _rows(processor, group[:half], media) + _rows(processor, group[half:], media)


def _lead(question: str) -> str:
    """The placeholders at its head, which branches share."""
    found = LEAD.match(question)
    return found.group() if found else ""


def _parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(whole), size):
        yield whole[start:start + size]


def read_lever(path: Path) -> Row:
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


def fingerprint(directory: Path) -> str:
    """Of the weights file: its size and 64 blocks spread over it, so that a large model costs no more than a small one."""
    files = sorted(directory.glob("*.safetensors")) or sorted((directory / "model").glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as content:
            for i in range(BLOCKS):
                content.seek(max(0, size - BLOCK) * i // (BLOCKS - 1))
                digest.update(content.read(BLOCK))
    return digest.hexdigest()[:16]
