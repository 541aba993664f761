"""Benchmarks on clips in files: which of them cannot be read, and which of their frames a model sees."""
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from eval.frame.benchmark import Benchmark, Item, Row, Scored
from mm.media.errors import BrokenMedia, existing
from mm.media.frame_folder import FrameFolder
from mm.media.images import Limits
from mm.media.sampling import Sampling, Timeline
from mm.media.video import load_video
from mm.media.video_file import VideoFile
from mm.parts import describe
from mm.sample import PLACEHOLDERS, Media

Unusable = Literal["refuse", "leave_out"]
NAMED = 5  # clips that a message names


@dataclass(frozen=True)
class Clip:
    """A clip of a benchmark, or a part of one. name: unique, the same for all parts of one file. path: a file, or a folder of pictures.
    start, end: bounds in seconds. folder_fps: rate of a folder of pictures."""

    name: str
    path: Path
    start: float | None = None
    end: float | None = None
    folder_fps: float | None = None

    @property
    def key(self) -> str:
        """Tells parts of one file apart."""
        return self.name if self.start is None and self.end is None else f"{self.name}#{self.start}-{self.end}"

    def reader(self, sampling: Sampling, limits: Limits) -> Callable[[], tuple[Media, ...]]:
        def read() -> tuple[Media, ...]:
            seen = load_video(self.path, sampling, limits, self.start, self.end, self.folder_fps)
            return (Media(seen.pixels, "clip", seen.times),)

        return read

    def timeline(self, limits: Limits) -> Timeline:
        """When its frames are shown, without decoding one; a file is read through. Raises BrokenMedia."""
        if self.path.is_dir():
            return FrameFolder(self.path, self.folder_fps, limits).timeline
        with VideoFile(existing(self.path), limits, str(self.path)) as opened:
            return opened.timeline

    def fault(self, limits: Limits, thorough: bool) -> str | None:
        """Why it cannot be used. thorough: opened and read through, with its bounds held against its length, not only looked for."""
        try:
            if thorough:
                self.timeline(limits).within(self.start, self.end)
            elif not self.path.is_dir():
                existing(self.path)
        except BrokenMedia as error:
            return str(error)
        except ValueError as error:  # of its bounds
            return f"{self.path}: {error}"
        return None


@dataclass(frozen=True)
class Question:
    """What is asked about a clip. row: the truth, as plain JSON values. split, prefix: as of an Item."""

    id: str
    clip: Clip
    text: str
    row: Row = field(default_factory=dict)
    split: str = ""
    prefix: str = ""


class ClipBenchmark(Benchmark):
    """sampling: which frames are seen. limits: of clips. unusable: what becomes of clips that are missing or damaged.

    "refuse": nothing is answered while a clip is missing, and a damaged one stops the run at its questions; the answers so far are kept.
    "leave_out": all clips are read through first, and questions about unusable ones, or about parts behind their end, are not asked; settings and a
    remark of the result say which.
    """

    sampling: Sampling
    limits: Limits
    unusable: Unusable
    _faults: dict[str, str]

    def __init__(self, sampling: Sampling, limits: Limits | None, unusable: Unusable, max_new_tokens: int) -> None:
        self.sampling = sampling
        self.limits = limits or Limits()
        self.unusable = unusable
        self.max_new_tokens = max_new_tokens
        self._faults = {}

    @abstractmethod
    def questions(self) -> Sequence[Question]:
        """All questions in the official order."""

    def items(self) -> list[Item]:
        questions = self.questions()
        self._faults = self._refused(question.clip for question in questions)
        return [
            Item(asked.id, asked.clip.key, asked.clip.reader(self.sampling, self.limits), f"{PLACEHOLDERS['clip']}\n{asked.text}",
                 {**asked.row, "clip": asked.clip.name}, split=asked.split, prefix=asked.prefix)
            for asked in questions if asked.clip.key not in self._faults]

    def settings(self) -> Row:
        return {**super().settings(), "sampling": describe(self.sampling), "limits": asdict(self.limits), "left_out": sorted(self._faults)}

    def noted(self, scored: Scored, *more: str) -> Scored:
        """`scored` with these remarks, and one on clips that are not asked about."""
        named = "; ".join(islice(self._faults.values(), NAMED)) + " ..." * (len(self._faults) > NAMED)
        left = [f"{len(self._faults)} clips could not be read, and their questions were left out ({named})"] * bool(self._faults)
        return replace(scored, remarks=(*scored.remarks, *more, *left))

    def _refused(self, clips: Iterable[Clip]) -> dict[str, str]:
        """Key -> reason of the clips that cannot be used."""
        distinct = {clip.key: clip for clip in clips}
        thorough = self.unusable == "leave_out"
        faults = {key: fault for key, clip in distinct.items() if (fault := clip.fault(self.limits, thorough))}
        if faults and (not thorough or len(faults) == len(distinct)):
            named = ", ".join(islice(faults, NAMED)) + " ..." * (len(faults) > NAMED)
            raise ValueError(
                f"{len(faults)} of {len(distinct)} clips cannot be used: {named}. The first: {next(iter(faults.values()))} Complete the folder"
                + ("." if thorough else ", or give unusable: leave_out, and their questions are left out, counted and named."))
        return faults


def with_fields(value: Any, where: str, *fields: str) -> Row:
    """`value` if it is an object with these fields. ValueError that names what is missing."""
    missing = [name for name in fields if not isinstance(value, dict) or name not in value]
    if missing:
        raise ValueError(f"{where}: no {' and no '.join(missing)}; expected an object with {', '.join(fields)}, found {str(value)[:120]}")
    return value  # type: ignore[no-any-return]
