"""Packs what `data.llava` reads into the shards that `data.shards` reads: every record with its pictures and clips."""
import argparse
import io
import json
import os
import sys
import tarfile
from pathlib import Path

from data.dialogue import VIDEO, read
from data.records import Records
from data.shards import CLIPS
from mm.media.errors import BrokenMedia, existing
from mm.media.frame_folder import SUFFIXES
from mm.sample import BadSample


def write(records: Records, media: Path, out: Path, samples: int) -> list[str]:
    """Packs records and their files, `samples` in a shard, each under the number of its record; what was left out, and why.

    A shard appears under its name when it is whole. ValueError for a folder that holds shards already, with which these would be mixed.
    """
    broken = []
    if samples < 1:
        raise ValueError(f"{samples} samples in a shard were asked for; expected 1 or more.")
    out.mkdir(parents=True, exist_ok=True)
    if found := sorted(out.glob("*.tar")):
        raise ValueError(f"{out} holds {found[0].name} already, and all shards of a folder are read together; remove them, or name another folder.")
    for first in range(0, len(records), samples):
        shard = out / f"{first // samples:06d}.tar"
        staging = shard.with_suffix(".writing")
        with tarfile.open(staging, "w") as tar:
            for index in range(first, min(first + samples, len(records))):
                try:
                    record = {"id": records.where(index)} | records[index]
                    files = read(record).files
                    found = [existing(media / file.name) for file in files]
                    for path in found:
                        if path.suffix.lower() not in SUFFIXES | CLIPS:
                            raise BrokenMedia(f"{path} is called neither like a picture nor like a clip; expected .jpg, .png, .mp4 or their like")
                except ValueError as error:
                    broken.append(str(BadSample(records.where(index), str(error))))
                    continue
                add(tar, f"{index:09d}.json", json.dumps(record, ensure_ascii=False).encode())
                for place, (file, path) in enumerate(zip(files, found, strict=True)):
                    suffix = f".clip{path.suffix}" if file.place == VIDEO and path.suffix.lower() not in CLIPS else path.suffix
                    add(tar, f"{index:09d}.{place}{suffix}" if len(found) > 1 else f"{index:09d}{suffix}", path)
        os.replace(staging, shard)
    return broken


def add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    """A member with nothing in its header that differs from run to run."""
    header = tarfile.TarInfo(name)
    header.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        tar.addfile(header, file)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 if every record was packed, 1 if some were left out, 2 if the file cannot be read or the folder not be written."""
    parser = argparse.ArgumentParser(prog="python -m data.shards", description="Packs a LLaVA-style file and its media into shards.")
    parser.add_argument("file", help="LLaVA-style .json or .jsonl")
    parser.add_argument("--media", help="the folder to which file names are relative (default: the file's own)")
    parser.add_argument("--out", required=True, help="folder of the shards")
    parser.add_argument("--samples", type=int, default=1000, help="in a shard (default: 1000)")
    chosen = parser.parse_args(arguments)
    try:
        records = Records(chosen.file)
        broken = write(records, Path(chosen.media or Path(chosen.file).parent), Path(chosen.out), chosen.samples)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join([f"{len(records) - len(broken)} samples packed, {len(broken)} left out", *(f"broken: {reason}" for reason in broken)]))
    return 1 if broken else 0
