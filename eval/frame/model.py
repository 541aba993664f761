"""A VLM as an answerer: questions about one picture share one copy of it wherever the mask lets them."""
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch
import yaml

import mm
from eval.frame.benchmark import Item, Row
from eval.frame.runner import Answer
from mm.models import VLM, Branches, Processor
from mm.models import Row as Encoded
from mm.models.layout import LEAD, PLACEHOLDER
from mm.parts import build
from mm.positions import Restart, Sequential
from mm.sample import BadSample, Media, Sample, Turn

T = TypeVar("T")
BLOCKS, BLOCK = 64, 2**16  # of a weights file that make its fingerprint


Asked = tuple[Item, str]  # with one of its candidates
Forced = dict[str, dict[str, tuple[float, bool]]]  # item id -> candidate -> (log-probability, whether greedy decoding gives it)


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
            texts = {id: text for id, verdicts in forced.items() for text, (_, is_greedy) in verdicts.items() if is_greedy}
            open_ended = [Sample(item.id, media[item.picture], (Turn(item.question),)) for item in items if item.id not in texts]
            for part in _parts(open_ended, self.rows):
                texts |= zip((sample.id for sample in part), self.vlm.generate(part, max_new_tokens=max_new_tokens), strict=True)
        return [Answer(texts[item.id], {text: logp for text, (logp, _) in forced[item.id].items()} if item.candidates else None) for item in items]

    def _force(self, items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], limit: int) -> Forced:
        """Every candidate read as the answer. limit: an answer of more tokens is not what decoding would give."""
        shared = self._shares_pictures()
        processor = Processor(self.vlm.language.tokenizer, self.vlm.geometry, Branches() if shared else self.vlm.layout, self.vlm.max_length)
        groups: dict[str, list[Asked]] = {}
        for item in items:
            for candidate in item.candidates:
                lead = _lead(item.question)
                together = shared and not PLACEHOLDER.search(item.question, len(lead))
                groups.setdefault(f"{item.picture} {lead}" if together else f"{item.id} {candidate}", []).append((item, candidate))
        rows = [row for group in groups.values() for row in _rows(processor, group, media[group[0][0].picture])]
        found: Forced = {item.id: {} for item in items}
        with mm.steer(self.vlm, positions=Restart()) if shared else nullcontext():
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
            found[item.id][candidate] = (sum(logp for logp, _ in said), all(is_greedy for _, is_greedy in said) and len(said) <= limit)

    def _shares_pictures(self) -> bool:
        """Whether a question reads the picture alike with and without other questions behind it."""
        apart = isinstance(self.vlm.layout, Branches) or self.vlm.mask.shares_image_prefix
        return apart and type(self.vlm.positions) in (Sequential, Restart)

    @contextmanager
    def _steered(self) -> Iterator[None]:
        lever = self.lever or {}
        with mm.steer(self.vlm, *(build(lever[name]) if name in lever else None for name in ("mask", "positions"))):
            yield


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
    """{"file", "mask", "positions"} of a YAML file, at its top level or under `model:` as in configs/lever. Raises ValueError for anything else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the lever {path}: {error}") from error
    content = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not content or set(content) - {"mask", "positions"}:
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} has {keys or 'nothing'}; a lever of an evaluation has `mask` and `positions`, each an import path with init_args")
    for part in content.values():
        build(part)  # an error here names the part; later it would come after the model was loaded
    return {"file": path.name, **content}


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
