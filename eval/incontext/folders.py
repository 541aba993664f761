"""Episodes from folders with `support.json` and `query.json`, as TrueMICL has one a task.

TrueMICL's release could not be had, so the fields are our reading of its description, and how demonstrations are chosen is our own.
"""
import random
from collections.abc import Sequence
from pathlib import Path

from eval.frame.benchmark import Row
from eval.frame.clips import with_fields
from eval.frame.files import picture_of, records
from eval.incontext.episode import Control, Prompted, Shot, prompted
from eval.incontext.reading import plain

SUPPORT, QUERY = "support.json", "query.json"


def load(path: Path, images: str | None, shots: int, seed: int, instruction: str, controls: Sequence[Control]) -> list[Prompted]:
    """Every query of every task under every control. Raises ValueError with file and row of what is wrong."""
    folders = [path] if (path / QUERY).is_file() else sorted(folder.parent for folder in path.glob(f"*/{QUERY}"))
    if not folders:
        raise ValueError(f"no {QUERY} in {path} or in a folder of it; expected a folder a task, with {SUPPORT} and {QUERY}")
    found = []
    for folder in folders:
        support = _shots(folder / SUPPORT, images or str(folder))
        queries = _shots(folder / QUERY, images or str(folder))
        known = tuple(sorted({plain(shot.answer): shot.answer for _, shot in (*support, *queries)}.values()))
        for row, query in queries:
            name = f"{folder.name}/{row['id']}"
            chosen = _chosen(row, support, shots, f"{seed} {name}", folder)
            for control in controls:
                media, question = prompted(chosen, query, control, f"{seed} {name}", instruction)
                found.append(Prompted(name, folder.name, control, media, question, query.answer, known, chosen[-1].answer))
    return found


def _shots(file: Path, images: str) -> list[tuple[Row, Shot]]:
    found: list[tuple[Row, Shot]] = []
    for number, record in enumerate(records(file), 1):
        where = f"{file}, row {number}"
        row = with_fields(record, where, "image", "question", "answer")
        names = row["image"] if isinstance(row["image"], list) else [row["image"]]
        if not names or isinstance(row["answer"], (list, dict)) or str(row["answer"]).strip() == "":
            raise ValueError(f"{where}: expected one picture or more and one answer, found {str(names)[:60]} and {str(row['answer'])[:60]!r}")
        pictures = tuple(picture_of(images, str(name), where) for name in names)
        found.append(({"id": number - 1, **row}, Shot(pictures, str(row["question"]).strip(), str(row["answer"]).strip())))
    twice = [row["id"] for k, (row, _) in enumerate(found) if row["id"] in [earlier["id"] for earlier, _ in found[:k]]]
    if twice:
        raise ValueError(f"{file}: id {twice[0]!r} comes twice; ids name what answers and demonstrations belong to")
    return found


def _chosen(row: Row, support: Sequence[tuple[Row, Shot]], shots: int, seed: str, folder: Path) -> list[Shot]:
    """The demonstrations that the query names in `support`, else as many at random as are asked for."""
    by_id = {each["id"]: shot for each, shot in support}
    if "support" in row:
        missing = [each for each in row["support"] if each not in by_id]
        if missing or not row["support"]:
            raise ValueError(f"{folder / QUERY}, id {row['id']}: its demonstrations {row['support']} are not all in {SUPPORT}")
        return [by_id[each] for each in row["support"]]
    if len(by_id) < shots:
        raise ValueError(f"{folder / SUPPORT} holds {len(by_id)} demonstrations and {shots} are asked for; lower shots")
    return random.Random(seed).sample(list(by_id.values()), shots)
