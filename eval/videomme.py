"""Video-MME: Fu et al., "Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in Video Analysis", CVPR 2025.

900 videos, a third of them short (under 2 minutes), medium (4 to 15) and long (30 to 60), with three multiple-choice questions each, asked without
subtitles or with those of the frames that are seen.
"""
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from eval.frame.benchmark import Row, Scored
from eval.frame.choices import accuracy, grouped, remarks, share, unparsed, verdict
from eval.frame.clips import NAMED, Clip, ClipBenchmark, Question, Unusable, with_fields
from eval.frame.files import parquet, records
from eval.frame.intervals import Score
from eval.parsers import chooser
from eval.text.srt import Line, at_frames, one_a_frame, read_srt
from mm.media.errors import BrokenMedia
from mm.media.images import Limits
from mm.media.sampling import Sampling, SegmentMid

Subtitles = Literal["without", "frames", "video_ccam", "all"]
Duration = Literal["short", "medium", "long"]
DURATIONS: tuple[Duration, ...] = ("short", "medium", "long")
SUFFIXES = (".mp4", ".MP4", ".mkv", ".webm")
LETTERS = "ABCD"
INSTRUCTION = ("Select the best answer to the following multiple-choice question based on the video. Respond with only the letter (A, B, C, or D) of "
               "the correct option.")
BLOCK = "This video's subtitles are listed below:\n{}\n"


class VideoMME(ClipBenchmark):
    """Questions on the user's copy.

    Args:
        data: the questions: the hub's Parquet file (needs the extra `parquet`), JSON or JSON-lines of its rows, or the official nested JSON.
        videos: folder of <videoID>.mp4 (.mkv, .webm). subtitle_files: folder of <videoID>.srt.
        subtitles: what is asked with which: "without"; "frames": lines on screen at the frames that are seen, each once (our reading of the official
            rule); "video_ccam": one line a frame, repeated; "all". Several may be asked in one run.
        suffix: text behind the options. Video-CCAM has none.
        durations: which videos. sampling: which frames are seen. limits: of clips. unusable: refuse or leave out missing and damaged ones.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "strict")

    def __init__(
        self, data: str, videos: str, subtitle_files: str | None = None, subtitles: Sequence[Subtitles] = ("without",),
        suffix: str = "\nThe best answer is:", durations: Sequence[Duration] = DURATIONS, sampling: Sampling | None = None,
        limits: Limits | None = None, unusable: Unusable = "refuse", max_new_tokens: int = 16,
    ) -> None:
        super().__init__(sampling or SegmentMid(32), limits, unusable, max_new_tokens)
        if not subtitles or (set(subtitles) != {"without"} and subtitle_files is None):
            raise ValueError(f"Video-MME with the subtitles {', '.join(subtitles)} needs the folder of .srt files: --videomme.subtitle_files")
        self.data = data
        self.videos = videos
        self.subtitle_files = subtitle_files
        self.subtitles = tuple(subtitles)
        self.suffix = suffix
        self.durations = tuple(durations)
        self._silent: list[str] = []

    def questions(self) -> list[Question]:
        rows = [row for row in load(Path(self.data)) if row["duration"] in self.durations]
        clips = {row["file"]: Clip(row["file"], find(Path(self.videos), row["file"])) for row in rows}
        spoken = self._spoken(clips) if set(self.subtitles) != {"without"} else {}
        return [
            Question(f"{kind}/{row['question_id']}", clips[row["file"]],
                     ask(row, None if kind == "without" else spoken[row["file"]][kind], self.suffix),
                     {"subtitles": kind, **{key: row[key] for key in FIELDS if key != "answer"}, "label": row["answer"]}, f"{kind}/{row['duration']}")
            for kind in self.subtitles for row in rows]

    def _spoken(self, clips: Mapping[str, Clip]) -> dict[str, dict[str, list[str]]]:
        """Clip -> kind -> lines. Raises ValueError where no clip has a file: 744 of the 900 videos have one."""
        folder = Path(str(self.subtitle_files))
        files = {name: folder / f"{name}.srt" for name in clips}
        self._silent = [name for name, file in files.items() if not file.is_file()]
        if len(self._silent) == len(files):
            raise ValueError(f"{folder} has no subtitle file of any of the {len(files)} videos; expected <videoID>.srt, like {next(iter(files))}.srt")
        return {name: self._lines(read_srt(file) if file.is_file() else [], clips[name]) for name, file in files.items()}

    def _lines(self, lines: Sequence[Line], clip: Clip) -> dict[str, list[str]]:
        times: list[float] = []
        if lines and {"frames", "video_ccam"} & set(self.subtitles):
            try:
                timeline = clip.timeline(self.limits)
                times = [float(timeline.times[index]) for index in self.sampling(timeline)]
            except BrokenMedia:  # a clip that is not there or damaged is reported with the others
                pass
        return {"frames": at_frames(lines, times), "video_ccam": one_a_frame(lines, times), "all": [line.text for line in lines]}

    def judge(self, row: Row, parser: str) -> Row:
        chosen = parse(row["answer"], parser)
        return verdict(chosen, row["label"], parser != "official" or chosen != "")

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        named = ", ".join(self._silent[:NAMED]) + " ..." * (len(self._silent) > NAMED)
        return self.noted(score(rows), *[f"{len(self._silent)} videos have no subtitles and are asked without any: {named}"] * bool(self._silent))

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {f"{kind}.official.json": nested(part) for kind, part in grouped(rows, "subtitles").items()}


# --- ask, parse and score


def ask(row: Row, lines: Sequence[str] | None, suffix: str) -> str:
    """The question about one row {question, options}. lines: of subtitles, none of them for a video without any."""
    return (BLOCK.format("\n".join(lines)) if lines else "") + "\n".join((INSTRUCTION, row["question"], *row["options"])) + suffix


def official(text: str, letters: str) -> str:
    """The official reader: some beginnings of sentences deleted, then the first capital letter that there is. "Answer: B." is an A, "Dog" a D.

    Two pairs of beginnings are joined in its list, where a comma is missing, so that these four are deleted only where they stand together.
    """
    for phrase in ("The best answer is", "The correct answer is", "The answer is", "The answer", "The best option isThe correct option is",
                   "Best answer:Best option:"):
        text = text.strip().replace(phrase, "")
    found = re.search(f"[{letters}]", text)
    return found.group() if found else ""


def parse(text: str, parser: str = "official") -> str:
    """The letter of the option that the parser takes for chosen, "" for none."""
    if parser == "official":
        return official(text, LETTERS)
    return chooser(parser, "choice_ranked" if parser == "lmms_eval" else "choice")(text, LETTERS)


def score(rows: Sequence[Row]) -> Scored:
    """Accuracy by subtitles and duration, and overall; beside it the share of answers that name an option. The official script leaves the others out
    of the accuracy. Rows: subtitles, duration, clip, choice, matched, correct, counted."""
    scores: dict[str, Score] = {}
    for kind, part in grouped(rows, "subtitles").items():
        scores |= {f"{kind}/{length}/accuracy": accuracy(own) for length, own in grouped(part, "duration").items()}
        scores[f"{kind}/overall/accuracy"] = accuracy(part)
        scores[f"{kind}/overall/answered"] = share([row["choice"] != "" for row in part], [row["clip"] for row in part])
    return Scored(scores, len(rows), unparsed(rows), tuple(remarks(rows)))


# --- files


FIELDS = ("video_id", "duration", "domain", "sub_category", "question_id", "task_type", "question", "options", "answer")
NESTED = ("video_id", "duration_category", "video_category", "video_subcategory")


def load(path: Path) -> list[Row]:
    """Rows {FIELDS, file} in order; file: what the video's files are called. Raises ValueError naming the row that is not as it should be."""
    found = []
    for number, record in enumerate(parquet(path) if path.suffix == ".parquet" else records(path), 1):
        where = f"{path}, record {number}"
        for row in flat(record, where) if "questions" in record else [record]:
            row = dict(with_fields(row, where, *FIELDS))
            row["options"] = [str(option) for option in row["options"]]
            if row["answer"] not in tuple(LETTERS) or len(row["options"]) != len(LETTERS) or row["duration"] not in DURATIONS:
                raise ValueError(f"{where}: expected 4 options, an answer of A, B, C or D and a duration of {', '.join(DURATIONS)}; found "
                                 f"{len(row['options'])} options, {row['answer']!r} and {row['duration']!r}")
            found.append({**{key: row[key] for key in FIELDS}, "file": file_of(row)})
    return found


def flat(record: Row, where: str) -> list[Row]:
    """Rows of one video of the official nested form."""
    record = {"video_subcategory": record.get("video_sub_category"), **record}
    video = dict(zip(FIELDS, (with_fields(record, where, *NESTED)[key] for key in NESTED), strict=False))
    questions = [with_fields(asked, where, "question_id", "task_type", "question", "choices", "answer") for asked in record["questions"]]
    return [{**video, "videoID": record.get("videoID"), "url": record.get("url"), **asked, "options": asked["choices"]} for asked in questions]


def file_of(row: Row) -> str:
    """The video's id at its source: given, or in its address, else its number in the benchmark."""
    address = re.search(r"(?:v=|youtu\.be/|shorts/)([\w-]{6,})", str(row.get("url") or ""))
    return str(row.get("videoID") or (address.group(1) if address else row["video_id"]))


def find(folder: Path, name: str) -> Path:
    """The video of that name under any of its suffixes; the usual one where there is none."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), folder / f"{name}{SUFFIXES[0]}")


def nested(rows: Sequence[Row]) -> list[Row]:
    """The official results file: a video with its questions, and the responses to them."""
    videos: dict[str, Row] = {}
    for row in rows:
        head = dict(zip(NESTED, (row[key] for key in FIELDS), strict=False))
        asked = {**{key: row[key] for key in ("question_id", "task_type", "question")}, "choices": row["options"], "answer": row["label"]}
        videos.setdefault(row["video_id"], {**head, "missing": False, "questions": []})["questions"].append({**asked, "response": row["answer"]})
    return list(videos.values())
