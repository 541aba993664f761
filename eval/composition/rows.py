"""Cases from the user's files: rows with their captions, and rows of ARO (Yuksekgonul et al., ICLR 2023), from which SNARE builds its own.

How captions are built of ARO's rows was read in the released code and not run.
"""
from collections.abc import Callable, Sequence
from pathlib import Path

from eval.composition.case import CLASSES, Case
from eval.frame.benchmark import Row
from eval.frame.clips import with_fields
from eval.frame.files import picture_of, records
from mm.sample import Media

SPATIAL = ("to the left of", "to the right of", "on", "below")
VAGUE = ("near", "next to", "beside", "on the side of", "surrounding", "close to", "standing beside", "with", "by")  # hold both ways


def load(path: Path, images: str | None) -> list[Case]:
    """Cases of one JSON or JSON-lines file, or of all in a folder. ValueError with file and row of what is wrong."""
    files = [path] if path.is_file() else sorted(file for file in path.glob("*.json*") if file.is_file())
    if not files:
        raise ValueError(f"no rows at {path}; expected a JSON or JSON-lines file, or a folder of them")
    found = []
    for file in files:
        for number, record in enumerate(records(file), 1):
            found += cases(record, f"{file}, row {number}", f"{file.stem}/{number}", images)
    if not found:
        raise ValueError(f"{path} gives no case: of ARO's relations, {', '.join(VAGUE)} hold both ways and are left out")
    return found


def cases(record: Row, where: str, name: str, images: str | None) -> list[Case]:
    """Those of one row. where: for errors. name: begins their ids."""
    if "captions" in record:
        return [_written(record, where, name, images)]
    box = _box(record, where, ("bbox_x", "bbox_y", "bbox_w", "bbox_h"))
    picture, media = _seen(with_fields(record, where, "image_path", "true_caption", "false_caption")["image_path"], box, where, images)

    def case(task: str, captions: Sequence[str], right: int, group: str) -> Case:
        labels = tuple(k == right for k in range(len(captions)))
        return Case(f"{task}/{name}", task, picture, media, tuple(captions), labels, CLASSES[task], group)

    true, false = record["true_caption"], record["false_caption"]
    if "attributes" in record:
        row = with_fields(record, where, "obj1_name", "obj2_name")
        one, other, (first, second) = row["obj1_name"], row["obj2_name"], row["attributes"]
        apart = f"the {one} and the {other} are {first} and {second} respectively"
        negated = [f"the {one} is {no}{first} and the {other} is {no}{second}" for no in ("", "not ")]
        return [case("attribute_ownership", (true, false, apart), 0, f"{first}_{second}"), case("negation_logic", negated, 0, f"{first}_{second}")]
    relation = with_fields(record, where, "relation_name")["relation_name"]
    found = []
    if relation not in VAGUE:
        found.append(case("relationship_composition", (true, false, true.replace(f"is {relation}", "and")), 0, relation))
    if relation in SPATIAL:
        captions = [true.replace(relation, other) for other in SPATIAL]
        found.append(case("spatial_relations", captions, SPATIAL.index(relation), relation))
    return found


def _written(record: Row, where: str, name: str, images: str | None) -> Case:
    row = with_fields(record, where, "task", "image", "captions")
    if row["task"] not in CLASSES:
        raise ValueError(f"{where}: task {row['task']!r}; expected one of {', '.join(CLASSES)}")
    captions = tuple(map(str, row["captions"]))
    classes = tuple(row.get("classes") or CLASSES[row["task"]][:len(captions)])
    labels = tuple(map(bool, row.get("labels") or [k == 0 for k in range(len(captions))]))
    picture, media = _seen(row["image"], tuple(row["box"]) if row.get("box") else None, where, images)
    return Case(f"{row['task']}/{name}", row["task"], picture, media, captions, labels, classes, str(row.get("group") or ""))


def _box(record: Row, where: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
    return tuple(int(record[name]) for name in names) if all(name in record for name in names) else None


def _seen(image: str, box: tuple[int, ...] | None, where: str, images: str | None) -> tuple[str, Callable[[], tuple[Media, ...]]]:
    """A name for what is seen of a picture, and its reader. box: left, top, width, height in pixels."""
    whole = picture_of(images, image, where)
    name = image if "." in image else f"{where}"
    if box is None:
        return name, whole
    left, top, width, height = box

    def part() -> tuple[Media, ...]:
        (medium,) = whole()
        seen = medium.frames[:, max(top, 0):top + height, max(left, 0):left + width]
        if not seen.size:
            raise ValueError(f"{where}: the box {list(box)} lies outside the picture, which has {medium.frames.shape[2]} x {medium.frames.shape[1]}")
        return (Media(seen),)

    return f"{name}#{left},{top},{width},{height}", part
