"""Subtitles in SubRip files (.srt), and which of their lines go with frames of a clip."""
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TIMES = re.compile(r"(\d+):(\d+):(\d+)[,.](\d{1,3})\s*-->\s*(\d+):(\d+):(\d+)[,.](\d{1,3})")
TAG = re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}")


class Line(NamedTuple):
    """Shown from start to end, in seconds. text: without tags, its own lines joined by a blank."""

    start: float
    end: float
    text: str


def read_srt(path: Path) -> list[Line]:
    """Lines of the file in order of time, empty ones left out; none of an empty file. Raises ValueError where a file with text holds no times."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the subtitles {path}: {error}") from error
    found = list(TIMES.finditer(text))
    if not text.strip():
        return []
    if not found:
        raise ValueError(f"{path} holds no line like 00:00:01,000 --> 00:00:02,500, so it is no SubRip file")
    ends = [match.start() for match in found[1:]] + [len(text)]
    lines = []
    for index, (match, end) in enumerate(zip(found, ends, strict=True)):
        spoken = text[match.end():end].splitlines()[1:]
        if index + 1 < len(found) and spoken and spoken[-1].strip() == "":
            spoken.pop()
        if index + 1 < len(found) and spoken and spoken[-1].strip().isdigit():  # the number of the next line
            spoken.pop()
        words = " ".join(TAG.sub("", " ".join(spoken)).split())
        if words:
            lines.append(Line(moment(match.groups()[:4]), moment(match.groups()[4:]), words))
    return sorted(lines)


def moment(parts: Sequence[str]) -> float:
    hours, minutes, seconds, fraction = parts
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def at_frames(lines: Sequence[Line], times: Sequence[float]) -> list[str]:
    """Every line on screen at one of the times, once, in order of time. Our own choice: Video-MME asks for "the subtitles corresponding to the
    sampled video frames" and does not say what becomes of a line that two frames share, or of two lines in one frame."""
    return [line.text for line in lines if any(line.start <= time < line.end for time in times)]


def one_a_frame(lines: Sequence[Line], times: Sequence[float]) -> list[str]:
    """For each time the first line that has begun and not ended, if there is one: at most one a frame, and one that two frames share comes twice.
    Fei et al., "Video-CCAM", arXiv 2408.14023, 2024 (released code)."""
    found = []
    for time in times:
        first = next((line for line in lines if line.end >= time), None)
        if first is not None and first.start < time:
            found.append(first.text)
    return found
