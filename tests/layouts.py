"""Copies of video benchmarks of a few kilobytes in their official layouts, their clips encoded on the spot: the frames carry their number in bars."""
import json
from pathlib import Path
from typing import Any

from PIL import Image

from eval.frame.layout import read_layout
from tests.clips import bars, write_bars

FRAMES = 50  # of each clip, 25 a second


def mvbench(folder: Path, layout: str = "mvbench") -> Path:
    """Two questions a task; the right one is the first and the second option. Bounded tasks ask about the second second of a clip."""
    for task, place in read_layout(layout).items():
        names = [f"{Path(place.questions).stem}{i}" + ("" if place.fps else ".mp4") for i in range(2)]
        rows = [{"video": name, "question": f"{task} {i}?", "candidates": ["sit", "run", "eat"], "answer": ("sit", "run")[i],
                 **({"start": 1.0, "end": 2.0} if place.bounded else {})} for i, name in enumerate(names)]
        write_json(folder / place.questions, rows)
        for name in names:
            clip = folder / place.clips / name
            frame_folder(clip) if place.fps else write_clip(clip)
    return folder


def mlvu(folder: Path) -> Path:
    """Two questions a choice task about one clip, one question a generation task."""
    for task, place in read_layout("mlvu").items():
        write_json(folder / place.questions, [
            {"video": "a.mp4", "duration": 2.0, "question": f"{task} {i}?", "candidates": ["one", "two", "three", "four"],
             "answer": ("one", "two")[i], "question_type": task} for i in range(2)])
        write_clip(folder / place.clips / "a.mp4")
    for task, place in read_layout("mlvu_generation").items():
        write_json(folder / place.questions, [{"video": "a.mp4", "duration": 2.0, "question": f"{task}?", "answer": "a square moves"}])
        write_clip(folder / place.clips / "a.mp4")
    return folder


def videomme(folder: Path) -> Path:
    """One video a duration with three questions, whose answers are A, B, C; subtitles of the first two. `rows.json` has the hub's rows, `nested.json`
    the official results form."""
    rows: list[dict[str, Any]] = []
    for number, duration in enumerate(("short", "medium", "long"), 1):
        name = f"vid{number}abcdef"
        write_clip(folder / "video" / f"{name}.mp4")
        rows += [{"video_id": f"{number:03}", "duration": duration, "domain": "Knowledge", "sub_category": "Geography", "videoID": name,
                  "url": f"https://www.youtube.com/watch?v={name}", "question_id": f"{number:03}-{i + 1}", "task_type": "Counting Problem",
                  "question": f"{duration} {i}?", "options": ["A. one", "B. two", "C. three", "D. four"], "answer": "ABC"[i]} for i in range(3)]
    write_json(folder / "rows.json", rows)
    videos = [[row for row in rows if row["video_id"] == f"{number:03}"] for number in (1, 2, 3)]
    write_json(folder / "nested.json", [
        {"video_id": own[0]["video_id"], "duration_category": own[0]["duration"], "video_category": "Knowledge", "video_subcategory": "Geography",
         "url": own[0]["url"],
         "questions": [{**{key: row[key] for key in ("question_id", "task_type", "question", "answer")}, "choices": row["options"]} for row in own]}
        for own in videos])
    for number in (1, 2):
        file = folder / "subtitle" / f"vid{number}abcdef.srt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("1\n00:00:00,000 --> 00:00:00,900\n<font color=\"white\" size=\".72c\">hello there</font>\n\n"
                        "2\n00:00:00,900 --> 00:00:01,950\nsecond line\nof two\n\n3\n00:00:30,000 --> 00:00:31,000\nnever seen\n", encoding="utf-8")
    return folder


def write_clip(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bars(path, FRAMES, height=32, width=80, crf="10")


def frame_folder(path: Path) -> None:
    """Six pictures, named from 00001 on: two seconds at three a second."""
    path.mkdir(parents=True, exist_ok=True)
    for number in range(1, 7):
        Image.fromarray(bars(number, 32, 80)).save(path / f"{number:05}.jpg", quality=95)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
