"""Pictures annotated for AMBER (Wang et al., arXiv 2311.07397, 2023): the official files, and scenes of the procedural world in the same form.

What one might expect in a scene of the world without it being there is known exactly: the shapes that its background makes likely, less those that
are there. That counterpart of the data is our own.
"""
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.world import vocabulary as words
from data.world.sampling import HOME
from eval.frame.benchmark import Row
from eval.frame.clips import with_fields
from eval.frame.files import records
from eval.frame.world import CAPTION_QUESTION, EXISTENCE_QUESTION, Picture, asked, pictures
from eval.text.associations import Associations

DIMENSIONS = {  # official type -> what it asks about. Relations that do not hold have a type name of their own
    "generative": "generative", "discriminative-hallucination": "existence", "discriminative-attribute-state": "state",
    "discriminative-attribute-number": "number", "discriminative-attribute-action": "action", "discriminative-relation": "relation",
    "relation": "relation"}


@dataclass(frozen=True)
class Annotated:
    """rows: {number, image, query, type, dimension, truth}, where truth is yes or no, or of a description the objects of the picture, and `hallu`
    beside it the absent ones that one might expect. scenes: by name, where the pictures are scenes of the world."""

    rows: list[Row]
    associations: Associations
    scenes: Mapping[str, Picture] = field(default_factory=dict)


def load(folder: Path) -> Annotated:
    """The official files, queries and annotations joined by id. Raises ValueError with the row that is not as it should be."""
    queries = next((path for path in (folder / "query_all.json", folder / "query" / "query_all.json") if path.is_file()), None)
    if queries is None:
        raise ValueError(f"no query_all.json in {folder} or {folder / 'query'}; expected AMBER's data folder, with annotations.json, relation.json, "
                         "safe_words.txt and query/")
    truths: dict[Any, Row] = {}
    for index, record in enumerate(records(folder / "annotations.json"), 1):
        found = with_fields(record, f"{folder / 'annotations.json'}, record {index}", "id", "type", "truth")
        if truths.setdefault(found["id"], found) is not found:
            raise ValueError(f"{folder / 'annotations.json'}, record {index}: a second annotation of id {found['id']}")
    rows, seen = [], set()
    for index, record in enumerate(records(queries), 1):
        asked = with_fields(record, f"{queries}, record {index}", "id", "image", "query")
        if asked["id"] not in truths or asked["id"] in seen:
            raise ValueError(f"{queries}, record {index}: id {asked['id']} has " + ("come before" if asked["id"] in seen else "no annotation"))
        seen.add(asked["id"])
        rows.append(row_of({**asked, **truths[asked["id"]]}, f"{folder / 'annotations.json'}, id {asked['id']}"))
    associations = Associations(_object(folder / "relation.json"), frozenset(_text(folder / "safe_words.txt").splitlines()))
    for row in rows:
        if row["dimension"] == "generative":
            associations.owners([*row["truth"], *row["hallu"]])  # raises where a word has no entry
    return Annotated(rows, associations)


def world(size: int, seed: int = 0) -> Annotated:
    """The first scenes of the test split, asked in AMBER's order: descriptions, attributes, existence (all absent), relations.

    Every scene that can be asked a kind is asked it once truly and once falsely, and of each absent shape that its background makes likely whether it
    is there. As in the official files, relations that hold and others are of two types.
    """
    scenes = pictures(size, "test", seed)
    rows: list[Row] = [{"image": scene.name, "query": CAPTION_QUESTION, "type": "generative", "truth": list(scene.shapes), "hallu": expected(scene)}
                       for scene in scenes]

    def rows_of(kind: str, true: str, false: str) -> list[Row]:
        return [{"image": scene.name, "query": question.text, "type": true if question.truth else false, "truth": question.answer}
                for scene, question in asked(kind, size, "test", seed)]

    for kind, name in (("attribute", "state"), ("number", "number")):
        rows += rows_of(kind, f"discriminative-attribute-{name}", f"discriminative-attribute-{name}")
    rows += [{"image": scene.name, "query": EXISTENCE_QUESTION.replace("a {}", words.a(shape)), "type": "discriminative-hallucination",
              "truth": words.NO} for scene in scenes for shape in expected(scene)]
    rows += rows_of("relation", "discriminative-relation", "relation")
    related = {node: others for node, *others in (line.split(", ") for line in words.SYNONYMS)}
    return Annotated([row_of({"id": number, **row}, f"row {number} of the world") for number, row in enumerate(rows, 1)], Associations(related),
                     {scene.name: scene for scene in scenes})


def expected(scene: Picture) -> list[str]:
    """Absent shapes that the background makes likely."""
    return [shape for shape in HOME[scene.scene.background.context] if shape not in scene.shapes]


def row_of(record: Row, where: str) -> Row:
    """A row of `Annotated` from a query with its annotation."""
    if record["type"] not in DIMENSIONS:
        raise ValueError(f"{where}: unknown type {record['type']!r}; expected one of {', '.join(DIMENSIONS)}")
    row = {"number": record["id"], **{key: record[key] for key in ("image", "query", "type")}, "dimension": DIMENSIONS[record["type"]]}
    if row["dimension"] == "generative":
        named = with_fields(record, where, "truth", "hallu")
        if not all(isinstance(named[key], list) for key in ("truth", "hallu")):
            raise ValueError(f"{where}: expected truth and hallu as lists of words, found {str(named['truth'])[:60]} and {str(named['hallu'])[:60]}")
        return {**row, "truth": named["truth"], "hallu": named["hallu"]}
    if record["truth"] not in ("yes", "no"):
        raise ValueError(f"{where}: expected the truth yes or no, found {record['truth']!r}")
    return {**row, "truth": record["truth"]}


def _object(path: Path) -> dict[str, Sequence[str]]:
    try:
        found = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: malformed JSON ({error.msg})") from error
    if not isinstance(found, dict) or not all(isinstance(others, list) for others in found.values()):
        raise ValueError(f"{path}: expected an object of lists, word -> words that go with it")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
