"""CV-Bench: Tong et al., "Cambrian-1: A Fully Open, Vision-Centric Exploration of Multimodal LLMs", NeurIPS 2024.

Counting and spatial relations on pictures of ADE20K and COCO, order in depth and distance on those of Omni3D, as multiple choice. The score is the
mean of 2D, itself the mean of its two sources, and 3D.
"""
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.choices import accuracy, at_the_edge, grouped, letters, listed, remarks, unparsed, verdict
from eval.frame.clips import with_fields
from eval.frame.files import parquet, picture_in, records
from eval.frame.intervals import Score, clustered
from eval.parsers import chooser
from mm.media.images import load_image
from mm.sample import Media

SOURCES = ("ADE20K", "COCO", "Omni3D")
FIELDS = ("idx", "type", "task", "question", "choices", "answer", "source")
SUFFIX = "\nAnswer with the option's letter from the given choices directly."


class CVBench(Benchmark):
    """Questions on the user's copy.

    Args:
        data: the release's folder (test_2d.jsonl and test_3d.jsonl beside img/, else test_2d.parquet and test_3d.parquet, which hold the pictures and
            need the extra `parquet`), or one such file.
        images: folder below which the rows' `filename` lies, by default that of the file.
        suffix: text behind each question, by default Cambrian's.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "strict")

    def __init__(self, data: str, images: str | None = None, suffix: str = SUFFIX, max_new_tokens: int = 16) -> None:
        self.data = data
        self.images = images
        self.suffix = suffix
        self.max_new_tokens = max_new_tokens

    def items(self) -> list[Item]:
        found = [(row, media) for path in files(Path(self.data), self.images) for row, media in load(path, self.images)]
        times = Counter(f"{row['type']}/{row['idx']}" for row, _ in found)
        if len(times) < len(found):
            again = next(name for name in times if times[name] > 1)
            raise ValueError(f"{self.data}: row {again} comes {times[again]} times, so its answers would count as often; leave one copy of it in the "
                             "files")
        return [Item(f"{row['type']}/{row['idx']}", row["clip"], media, f"<image>\n{row['prompt']}{self.suffix}", row, split=row["source"])
                for row, media in found]

    def judge(self, row: Row, parser: str) -> Row:
        return verdict(parse(row["answer"], letters(row["choices"]), parser), row["label"])

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        """Rows as Cambrian's scripts write and read them, with `source` and `result` (1 where right) as the data card's computation takes them."""
        return {"answers": [
            {"questionId": row["idx"], "image": row["clip"], "prompt": row["prompt"], "answer": row["answer"], "gt_answer": f"({row['label']})",
             "category": row["task"], "options": row["choices"], "type": row["type"], "source": row["source"], "result": int(row["correct"])}
            for row in rows]}


# --- parse and score


def official(text: str, letters: str) -> str:
    """Cambrian's reader of multiple choice (read in its code for the same questions on COCO, not run): what is behind "answer is" or "answer:", or
    the whole answer, without an opening parenthesis; of it the first character, in either case. "Dog" is a D, "The answer is (C)." a C."""
    text = text.lower().strip()
    for lead in ("answer is", "answer is:", "answer:"):
        text = text.split(lead)[-1]
    letter = text.strip().rstrip(".").lstrip("(").rstrip(")")[:1].upper()
    return letter if letter and letter in letters else ""


def parse(text: str, letters: str, parser: str = "official") -> str:
    """The letter of the option that the parser takes for chosen, "" for none."""
    if parser == "official":
        return official(text, letters)
    return chooser(parser, "choice_first" if parser == "lmms_eval" else "choice")(text, letters)


def score(rows: Sequence[Row]) -> Scored:
    """Accuracy by source and by task, of all answers pooled, and the benchmark's own: ((ADE20K + COCO) / 2 + Omni3D) / 2.

    Rows: source, task, clip (the picture), choice, matched, correct, counted.
    """
    sources = grouped(rows, "source")
    scores = {f"{name}/accuracy": accuracy(part) for name, part in (*sources.items(), *grouped(rows, "task").items())}
    missing = [name for name in SOURCES if name not in sources]
    if not missing:
        scores |= {"2D/accuracy": _of_sources(rows, lambda ade, coco, _: (ade + coco) / 2), "3D/accuracy": scores["Omni3D/accuracy"],
                   "combined/accuracy": _of_sources(rows, lambda ade, coco, omni: ((ade + coco) / 2 + omni) / 2)}
    scores["pooled/accuracy"] = accuracy(rows)
    partial = [f"there is no combined accuracy without questions of {', '.join(missing)}"] * bool(missing)
    return Scored(scores, len(rows), unparsed(rows), (*remarks(rows), *partial))


def _of_sources(rows: Sequence[Row], mean: Callable[..., np.ndarray]) -> Score:
    """A mean of the sources' accuracies, in their order, with a bootstrap over pictures. [R, S, 2]: right, asked."""
    terms = np.zeros((len(rows), len(SOURCES), 2))
    for place, row in enumerate(rows):
        terms[place, SOURCES.index(row["source"])] = row["correct"], 1

    def statistic(sums: np.ndarray) -> np.ndarray:
        pairs = sums.reshape(*sums.shape[:-1], len(SOURCES), 2)
        return mean(*np.moveaxis(pairs[..., 0] / pairs[..., 1], -1, 0))

    pictures = [row["clip"] for row in rows]
    return at_the_edge(clustered(pictures, terms.reshape(len(rows), -1), statistic, len(rows)), pictures)


# --- files


def files(data: Path, images: str | None) -> list[Path]:
    """The question files of a copy: those beside pictures, else those that hold pictures. Raises ValueError where there are none."""
    if data.is_file():
        return [data]
    for suffix in ("jsonl", "parquet") if images or (data / "img").is_dir() else ("parquet", "jsonl"):
        for pattern in (f"test_*.{suffix}", f"test.{suffix}"):  # some copies have the two joined as well
            if found := sorted(data.glob(pattern)):
                return found
    raise ValueError(f"{data} has no test_2d.jsonl or test_2d.parquet; expected a copy of CV-Bench, or one of its files")


def load(path: Path, images: str | None = None) -> list[tuple[Row, Callable[[], tuple[Media, ...]]]]:
    """Rows {FIELDS, prompt, label, clip} of one file, each with a reader of its picture. Raises ValueError with the row that is not as it should
    be."""
    return [_entry(record, f"{path}, row {number}", images or str(path.parent))
            for number, record in enumerate(parquet(path) if path.suffix == ".parquet" else records(path), 1)]


def _entry(record: dict[str, Any], where: str, folder: str) -> tuple[Row, Callable[[], tuple[Media, ...]]]:
    row = dict(with_fields(record, where, *FIELDS))
    choices, label = [str(choice) for choice in row["choices"]], str(row["answer"]).strip("() ")
    if not choices or label not in tuple(letters(choices)) or row["source"] not in SOURCES:
        raise ValueError(f"{where}: expected an answer like (A) among {len(choices)} choices and a source of {', '.join(SOURCES)}; found "
                         f"{row['answer']!r} and {row['source']!r}")
    stored = row.get("image")
    name = str(row.get("filename") or f"{row['type']}/{row['idx']}")
    media = _stored(stored["bytes"], name) if isinstance(stored, dict) and stored.get("bytes") else picture_in(*_place(folder, name))
    prompt = str(row.get("prompt") or f"{row['question']} Select from the following choices.\n{listed(choices)}")
    return {**{key: row[key] for key in FIELDS if key not in ("answer", "choices")}, "choices": choices, "prompt": prompt, "label": label,
            "clip": name}, media


def _place(folder: str, name: str) -> tuple[str, str]:
    """Copies differ in whether `filename` begins with img/."""
    inner = Path(folder) / "img"
    return (str(inner), name) if (inner / name).is_file() else (folder, name)


def _stored(content: bytes, name: str) -> Callable[[], tuple[Media, ...]]:
    return lambda: (Media(load_image(content, name=name)[None]),)
