"""Writes a part of the world as files that `data.llava` reads: LLaVA-style JSON, PNG and MP4, and the ground truth beside it.

    python -m data.world.export --split train --size 1000 --out exported
    python -m data.world.export --view clips --split test --size 200 --out exported-clips

Both picture forms are lossless (clips: H.264 in RGB with quantiser 0), so training on the files is training on the generator.
"""
import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import av
from PIL import Image

from data.world.clips import Clips
from data.world.dataset import Scenes
from data.world.edits import Edits
from data.world.episodes import Control, Episodes
from data.world.splits import Name
from data.world.view import View
from mm.sample import Media, Sample

CONVERSATIONS, TRUTH = "conversations.json", "truth.json"
FOLDER = {"image": "images", "clip": "clips"}
KEY = {"image": "image", "clip": "video"}
FRAMES_PER_SECOND = 2


def export(view: View, folder: Path) -> Path:
    """Writes all items; returns the conversations file. It gets its name when everything is written, so an interrupted export is not mistaken
    for a whole one. Raises FileExistsError unless the folder is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder; an export does not overwrite: name another, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{CONVERSATIONS}.part"
    with lines_of_array(unfinished) as conversation, lines_of_array(folder / TRUTH) as truth:
        for index in range(len(view)):
            sample = view[index]
            conversation(record(sample, write_media(sample, folder)))
            truth(view.truth(index))
    return unfinished.rename(folder / CONVERSATIONS)


def record(sample: Sample, files: list[str]) -> dict[str, Any]:
    """A sample in LLaVA form. files: of its media, in order. Weights other than 1 and task labels stand at the answers."""
    entry: dict[str, Any] = {"id": sample.id}
    for kind, key in KEY.items():
        names = [name for name, media in zip(files, sample.media, strict=True) if media.kind == kind]
        if names:
            entry[key] = names[0] if len(names) == 1 else names
    conversations: list[dict[str, Any]] = [{"from": "system", "value": sample.system}] if sample.system else []
    for turn in sample.turns:
        answer: dict[str, Any] = {"from": "gpt", "value": turn.answer}
        if turn.weight != 1.0:
            answer["weight"] = turn.weight
        if turn.task:
            answer["task"] = turn.task
        conversations += [{"from": "human", "value": turn.question}, answer]
    return {**entry, "conversations": conversations}


def write_media(sample: Sample, folder: Path) -> list[str]:
    """File names relative to the folder, named after the sample."""
    names = []
    for number, media in enumerate(sample.media):
        stem = sample.id if len(sample.media) == 1 else f"{sample.id}-{number}"
        name = f"{FOLDER[media.kind]}/{stem}{'.png' if media.kind == 'image' else '.mp4'}"
        (folder / FOLDER[media.kind]).mkdir(exist_ok=True)
        if media.kind == "image":
            Image.fromarray(media.frames[0]).save(folder / name)
        else:
            write_clip(media, folder / name)
        names.append(name)
    return names


def write_clip(media: Media, path: Path) -> None:
    """Lossless: `libx264rgb` keeps RGB, where any YUV form would round. Sides must be even."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=FRAMES_PER_SECOND, options={"qp": "0"})
        stream.height, stream.width = media.frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        for frame in media.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@contextmanager
def lines_of_array(path: Path) -> Iterator[Any]:
    """A function that appends one value, on a line of its own, to the JSON array that the file becomes."""
    with path.open("w", encoding="utf-8") as file:
        start = "[\n"

        def append(value: dict[str, Any]) -> None:
            nonlocal start
            file.write(start + json.dumps(value))
            start = ",\n"

        yield append
        file.write("\n]\n" if start != "[\n" else "[]\n")


def view_of(options: argparse.Namespace) -> View:
    if options.view == "scenes":
        return Scenes(options.split, options.size, options.seed, options.questions)
    if options.view == "episodes":
        return Episodes(options.split, options.size, options.seed, control=options.control)
    return {"clips": Clips, "edits": Edits}[options.view](options.split, options.size, options.seed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m data.world.export", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--view", choices=["scenes", "episodes", "clips", "edits"], default="scenes")
    parser.add_argument("--split", choices=get_args(Name), default="train")
    parser.add_argument("--size", type=int, default=1000, help="number of items")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--questions", type=int, default=8, help="questions a scene")
    parser.add_argument("--control", choices=get_args(Control), default="none", help="what is taken away from the demonstrations of episodes")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    options = parser.parse_args(arguments)
    try:
        file = export(view_of(options), options.out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.size} {options.view} of the {options.split} split: {file}, ground truth in {options.out / TRUTH}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
