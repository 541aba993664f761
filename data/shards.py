"""Shards of samples with their pictures and clips, as WebDataset packs them (Aizman et al., "High Performance I/O for Large Scale Deep Learning",
2019): tar files in which `key.json` and `key.jpg`, or `key.0.jpg`, `key.1.mp4` and so on, stand one after another.

The JSON is a record of `data.llava`. Files in the shard stand for those that it names, in order; if it names none, they are meant all the same. A
clip in a format of pictures, like GIF, is called `key.clip.gif`. Members without a key or a suffix, as README and macOS's ._a.jpg, are passed over.

    python -m data.shards file.json --media folder --out shards      # packs what `data.llava` reads, and lists what is broken

The package of that name reads shards as a stream, which can neither be shuffled as a whole nor resumed at a sample without reading what lies before
it. Here each sample's place is remembered, so that a shard is a data set like any other: it needs files on a disk, not a pipe.
"""
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from data.dialogue import IMAGE, VIDEO, Misformed, read
from data.media import Loader
from mm.media.errors import BrokenMedia, missing
from mm.media.frame_folder import SUFFIXES
from mm.media.images import Limits
from mm.media.readers import Reader
from mm.media.sampling import Sampling
from mm.sample import BadSample, Sample

CLIPS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts"})
BLOCK = tarfile.BLOCKSIZE


class Shards(Dataset[Sample]):
    """Map-style data set of tar files; its memory is 24 bytes a sample.

    files: a folder of .tar files, a pattern (`shards/*.tar`), one file, or a list of such. sampling, limits, reader: as for `Conversations`.
    The headers of all shards are read on construction. FileNotFoundError where there is none, ValueError naming shard, member and byte for one
    that is cut off or damaged; on access BadSample naming shard, key and byte for a sample that cannot be used.
    """

    def __init__(self, files: str | list[str], sampling: Sampling | None = None, limits: Limits | None = None, reader: Reader | None = None) -> None:
        self.files, self.load = files, Loader(sampling, limits, reader=reader)
        self.shards = [shard for entry in ([files] if isinstance(files, str) else files) for shard in tars(entry)]
        # Shard, first byte and byte after the last one of each sample.
        places = ((at, *row) for at, shard in enumerate(self.shards) for row in rows(shard))
        self.table = np.fromiter((number for place in places for number in place), np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} was asked for, {self.files} have {len(self)}.")
        at, start, end = (int(number) for number in self.table[index])
        id = where = f"{self.shards[at].name} at byte {start}"
        try:
            key, members = parsed(self.shards[at], start, end)
            id, where = key, f"{self.shards[at].name}, key {key} at byte {start}"
            record = described(members)
            id = str(record.get("id", key))
            stored = {place: ordered(members, place) for place in (IMAGE, VIDEO)}
            system, turns, files = read(record, stored)
            named = [(file._replace(name=f"{key}.{file.name}"), members[file.name]) for file in files]
            return Sample(id, tuple(self.load(file, content) for file, content in named), turns, system)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise BadSample(id, f"{str(error).rstrip('.')} ({where}).") from error


def tars(entry: str) -> list[Path]:
    path = Path(entry)
    if path.is_file():
        return [path]
    found = sorted(path.glob("*.tar") if path.is_dir() else map(Path, glob(entry)))
    if not found:
        raise FileNotFoundError(f"{path} is a folder without .tar files." if path.is_dir() else missing(path))
    return found


def split(name: str) -> tuple[str, str]:
    """Key and suffix of a member: what stands before the first point of its file name, with its folder, and what stands behind it."""
    folder, _, file = name.rpartition("/")
    key, _, suffix = file.partition(".")
    return f"{folder}/{key}" if folder else key, suffix.lower()


def part_of_a_sample(member: tarfile.TarInfo) -> bool:
    key, suffix = split(member.name)
    return member.isfile() and suffix != "" and not key.endswith("/") and key != ""


def rows(shard: Path) -> Iterator[tuple[int, int]]:
    """(start, end) in bytes of each run of members with the same key. ValueError where the file does not end as a tar file does."""
    last, start, end, name = "", 0, 0, "its first member"
    try:
        with tarfile.open(shard, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # the library would keep them all
                name = member.name
                if not part_of_a_sample(member):
                    continue
                key, _ = split(name)
                if key != last and end:
                    yield start, end
                if key != last or not end:
                    last, start = key, member.offset
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
            place = tar.offset
    except tarfile.TarError as error:
        raise ValueError(f"{shard} is cut off or damaged in {name}, key {last!r}, behind byte {start}: {error}. A shard is an uncompressed tar file; "
                         "copy it again, or leave it out.") from error
    with shard.open("rb") as file:
        file.seek(place)
        mark = file.read(BLOCK)
        more = any(any(piece) for piece in iter(lambda: file.read(2**20), b"")) if mark == bytes(BLOCK) else False
    if mark != bytes(BLOCK):  # the library takes a damaged header for the end
        raise ValueError(f"{shard} is {'damaged' if mark else 'cut off'} at byte {place}, behind {name}, key {last!r}: expected another member "
                         "or the zeros that end a tar file; copy it again, or leave it out.")
    if more:
        raise ValueError(f"{shard} goes on behind the zeros that end a tar file at byte {place}, behind {name}, key {last!r}, as where tar "
                         "files were put one behind another; give them one by one, or pack them anew.")
    if end:
        yield start, end


def parsed(shard: Path, start: int, end: int) -> tuple[str, dict[str, bytes]]:
    """Key and members by suffix of the sample that lies there."""
    with shard.open("rb") as file:
        file.seek(start)
        piece = file.read(end - start)
    members: dict[str, bytes] = {}
    key = ""
    if len(piece) < end - start:
        raise BrokenMedia(f"{shard.name} has become shorter since it was opened")
    with tarfile.open(fileobj=io.BytesIO(piece), mode="r:") as tar:
        for member in tar:
            if not part_of_a_sample(member):
                continue
            key, suffix = split(member.name)
            if suffix in members:
                raise BrokenMedia(f"there are two members {member.name}, expected one")
            content = tar.extractfile(member)
            members[suffix] = content.read() if content else b""
    return key, members


def described(members: dict[str, bytes]) -> dict[str, Any]:
    if "json" not in members:
        raise BrokenMedia(f"there is no member .json beside {', '.join(f'.{suffix}' for suffix in members)}")
    record = json.loads(members["json"].decode())
    if not isinstance(record, dict):
        raise Misformed(f"the member .json is a {type(record).__name__}, expected a record {{...}}")
    return record


def place_of(suffix: str) -> str | None:
    """The placeholder for which a member with this suffix may stand; None for a member that is neither picture nor clip."""
    *before, format = suffix.split(".")
    if f".{format}" in CLIPS or (f".{format}" in SUFFIXES and before[-1:] == ["clip"]):
        return VIDEO
    return IMAGE if f".{format}" in SUFFIXES else None


def ordered(members: dict[str, bytes], place: str) -> list[str]:
    """The suffixes of one kind, `0.jpg` before `1.jpg` before `10.jpg`."""
    found = [suffix for suffix in members if place_of(suffix) == place]
    return sorted(found, key=lambda suffix: [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in suffix.split(".")])


if __name__ == "__main__":
    from data.pack_shards import main

    sys.exit(main())
