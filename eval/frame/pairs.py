"""Two yes/no questions about each picture, as MME's release and its scorer lay them out (Fu et al., arXiv 2306.13394, 2023)."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mm.media.frame_folder import SUFFIXES

ANSWERS = ("questions_answers_YN", "questions_answers_YY")  # the release has the first, as far as others' readers of it show
Asked = tuple[str, str]  # a question, and yes or no


@dataclass(frozen=True)
class Pair:
    """task: what the questions are about. number: within the task, from 1. image: the picture's name. file: where it lies below the folder of
    pictures."""

    task: str
    number: int
    image: str
    file: str
    questions: tuple[Asked, Asked]

    @property
    def key(self) -> str:
        return f"{self.task}/{self.number}"

    @property
    def picture(self) -> str:
        return f"{self.task}/{self.image}"


def load(folder: Path, images: Path, tasks: Sequence[str]) -> list[Pair]:
    """Pairs of the tasks, in order. folder: the release's folder of tasks, or one of `<task>.txt`. images: where the pictures of the latter lie, one
    folder a task. Raises ValueError for a task that is not there, and for a file that does not hold pairs."""
    lists = {task: folder / f"{task}.txt" for task in tasks}
    missing = [task for task in tasks if not lists[task].is_file() and not (folder / task).is_dir()]
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing)}; expected for each task a file <task>.txt or a folder <task>. For fewer tasks give "
                         "--mme.part")
    return [pair for task in tasks
            for pair in (_of_list(task, lists[task], images) if lists[task].is_file() else _of_folder(task, folder / task))]


def _of_list(task: str, path: Path, images: Path) -> Iterator[Pair]:
    """Pairs of consecutive lines "picture, question, yes or no", between tabs; what follows is ignored."""
    rows = list(_lines(path, 3))
    if len(rows) % 2:
        raise ValueError(f"{path} has {len(rows)} lines; expected two for each picture, one behind the other")
    for number, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=True), 1):
        if first[0] != second[0]:
            raise ValueError(f"{path}, lines {2 * number - 1} and {2 * number}: expected one picture, found {first[0]!r} and {second[0]!r}")
        inner = (images / task / "images" / first[0]).is_file() and not (images / task / first[0]).is_file()
        yield Pair(task, number, first[0], f"{task}/images/{first[0]}" if inner else f"{task}/{first[0]}",
                   (_asked(first[1:], path), _asked(second[1:], path)))


def _of_folder(task: str, folder: Path) -> Iterator[Pair]:
    """Pairs of one text file a picture with two lines "question, yes or no"; pictures beside them, or in folders of their own."""
    texts = next((folder / name for name in ANSWERS if (folder / name).is_dir()), folder)
    place = "images" if texts != folder else ""
    pictures = {path.stem: path.name for path in sorted((folder / place).glob("*")) if path.suffix.lower() in SUFFIXES}
    files = sorted(texts.glob("*.txt"))
    if not files:
        raise ValueError(f"{texts} holds no .txt with questions; expected one for each picture")
    for number, path in enumerate(files, 1):
        rows = list(_lines(path, 2))
        if len(rows) != 2 or path.stem not in pictures:
            raise ValueError(f"{path}: expected two questions about a picture {path.stem} in {folder / place}; found {len(rows)} and "
                             f"{'the' if path.stem in pictures else 'no'} picture")
        image = pictures[path.stem]
        yield Pair(task, number, image, "/".join(filter(None, (task, place, image))), (_asked(rows[0], path), _asked(rows[1], path)))


def _lines(path: Path, least: int) -> Iterator[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            parts = line.rstrip("\r").split("\t")
            if len(parts) < least:
                raise ValueError(f"{path}, line {number}: expected {least} parts between tabs, found {len(parts)}")
            yield parts


def _asked(parts: Sequence[str], path: Path) -> Asked:
    question, label = parts[0].strip(), parts[1].strip().lower()
    if label not in ("yes", "no"):
        raise ValueError(f"{path}: the answer to {question[:60]!r} is {parts[1].strip()!r}, neither Yes nor No")
    return question, label
