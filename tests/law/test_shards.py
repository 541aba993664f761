"""A shard is a data set like any other: the same samples as the files it was packed from, in any order, by any number of workers."""
import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from data.llava import Conversations
from data.pack_shards import main
from data.shards import Shards
from mm.media.sampling import SegmentMid
from mm.sample import BadSample, Sample
from mm.training.loader import Loader, Order
from tests.clips import bars, numbers, write_bars
from tests.photos import paint, png
from tests.vlms import toy

TURNS = [{"from": "human", "value": "what do you see ?"}, {"from": "gpt", "value": "a star"}]


def write_source(folder: Path, samples: int = 9) -> Path:
    """Every third sample is about a clip, about a picture, about both and another picture."""
    for index in range(samples):
        (folder / f"{index}.png").write_bytes(png(paint(20 + index, 16)))
    write_bars(folder / "clip.mp4", g="12", bf="2")
    kinds: list[dict[str, Any]] = [{"video": "clip.mp4"}, {"image": "{}.png"}, {"video": ["clip.mp4"], "image": ["{}.png", "0.png"]}]
    records = [{"id": f"s{index}"} | json.loads(json.dumps(kinds[index % 3]).replace("{}", str(index))) | {"conversations": TURNS}
               for index in range(samples)]
    (folder / "data.json").write_text(json.dumps(records))
    return folder / "data.json"


def write_shard(file: Path, members: list[tuple[str, bytes]]) -> str:
    with tarfile.open(file, "w") as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return str(file)


def record(**more: object) -> bytes:
    return json.dumps({"conversations": TURNS} | more).encode()


def same(a: Sample, b: Sample) -> bool:
    return (a.id, a.turns, a.system) == (b.id, b.turns, b.system) and len(a.media) == len(b.media) and all(
        (m.kind, m.times) == (n.kind, n.times) and np.array_equal(m.frames, n.frames) for m, n in zip(a.media, b.media, strict=True))


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Conversations, Shards]:
    file = write_source(tmp_path)
    assert main([str(file), "--out", str(tmp_path / "shards"), "--samples", "4"]) == 0
    return Conversations(str(file), sampling=SegmentMid(4)), Shards(str(tmp_path / "shards"), sampling=SegmentMid(4))


def test_shards_give_what_they_were_packed_from(packed: tuple[Conversations, Shards]) -> None:
    source, shards = packed
    assert [shard.name for shard in shards.shards] == ["000000.tar", "000001.tar", "000002.tar"]
    assert len(shards) == len(source) == 9
    assert all(same(source[index], shards[index]) for index in (8, 2, 0, 7, 1, 3, 5, 4, 6))


def test_workers_and_copies_read_the_same(packed: tuple[Conversations, Shards]) -> None:
    _, shards = packed
    assert same(pickle.loads(pickle.dumps(shards))[2], shards[2])
    assert all(same(shards[index], read) for index, read in zip(range(9), DataLoader(shards, batch_size=None, num_workers=2), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_training_on_shards_resumes_where_it_stopped(packed: tuple[Conversations, Shards], workers: int) -> None:
    _, shards = packed
    processor = toy().processor

    def ids(consumed: int) -> list[str]:
        loader = Loader(shards, processor, Order(len(shards), 2, seed=5), workers, 5, "raise")
        loader.load_state_dict({"consumed": consumed})
        found = [id for drawn in loader for id in drawn.batch.ids]
        loader.close()
        return found

    straight = ids(0)
    assert sorted(set(straight)) == [f"s{index}" for index in range(9)]
    assert ids(4) == straight[4:]


def test_shards_of_others_are_read(tmp_path: Path) -> None:
    """A record that names no file, members in folders and in any order, other members beside."""
    clip = write_bars(tmp_path / "a.mp4").read_bytes()
    pictures = [png(paint(20 + index, 16)) for index in range(11)]
    several = [(f"x/b.{index}.png", pictures[index]) for index in (10, *range(10))]
    shards = Shards(write_shard(tmp_path / "a.tar", [
        ("x/a.JPG", pictures[0]), ("x/a.json", record(id="one")), ("x/a.cls", b"3"), *several, ("x/b.json", record()),
        ("c.mp4", clip), ("c.json", record(start=1, end=1.04))]))
    one, many, moving = (shards[index] for index in range(3))
    assert (one.id, many.id, moving.id) == ("one", "x/b", "c")
    assert [media.frames.shape[2] for media in many.media] == list(range(20, 31))
    assert numbers(moving.media[0].frames) == [25]


def test_members_that_belong_to_no_sample_are_passed_over(tmp_path: Path) -> None:
    """As macOS and authors leave them; between two members of a sample they do not part it."""
    picture = png(paint(20, 16))
    shards = Shards(write_shard(tmp_path / "a.tar", [
        ("README", b"ours"), ("x/._a.json", b"?"), ("x/a.json", record()), ("x/._a.png", b"?"), ("x/a.png", picture), (".DS_Store", b"?")]))
    assert len(shards) == 1
    assert (shards[0].id, shards[0].media[0].frames.shape) == ("x/a", (1, 16, 20, 3))


def test_a_moving_picture_stays_a_clip_in_a_shard(tmp_path: Path) -> None:
    pictures = [Image.fromarray(bars(number, 32, 80)) for number in range(6)]
    pictures[0].save(tmp_path / "a.GIF", "GIF", save_all=True, append_images=pictures[1:], duration=40)
    records = [{"id": "both", "video": "a.GIF", "image": "a.GIF", "conversations": TURNS}, {"id": "one", "video": "a.GIF", "conversations": TURNS}]
    (tmp_path / "data.json").write_text(json.dumps(records))
    assert main([str(tmp_path / "data.json"), "--out", str(tmp_path / "shards")]) == 0
    source, shards = Conversations(str(tmp_path / "data.json")), Shards(str(tmp_path / "shards"))
    assert all(same(source[index], shards[index]) for index in range(2))
    assert numbers(shards[1].media[0].frames) == list(range(6))


def test_files_of_a_shard_stand_for_those_that_the_record_names(tmp_path: Path) -> None:
    parts = [{"type": "image", "image": "far/away.png"}, {"type": "text", "text": "what ?"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": "a star"}]
    shards = Shards(write_shard(tmp_path / "a.tar", [("a.json", json.dumps({"messages": messages}).encode()), ("a.png", png(paint(20, 16)))]))
    assert shards[0].media[0].frames.shape == (1, 16, 20, 3)


@pytest.mark.parametrize(("members", "message"), [
    ([("a.png", png(paint(20, 16)))], r"there is no member \.json beside \.png \(a\.tar, key a at byte 0\)"),
    ([("a.json", record(image=["x.png", "y.png"])), ("a.0.png", png(paint(20, 16)))], r"names 2 image files, and 1 came with it.*\(a\.tar, key a"),
    ([("a.json", record(video="x.mp4"))], "names 1 video file, and 0 came with it"),
    ([("a.json", b"{"), ("a.png", b"")], r"line 1 column 2 .*\(a\.tar, key a"), ([("a.json", b"[]")], "is a list, expected a record"),
    ([("a.json", record()), ("a.png", png(paint(20, 16))[:60])], r"a\.png is .*damaged.*\(a\.tar, key a at byte 0\)"),
    ([("a.json", record()), ("a.mp4", b"not a clip")], r"a\.mp4 is not a clip.*\(a\.tar, key a"),
    ([("a.json", record()), ("a.mp4", b"")], r"a\.mp4 is empty"),
    ([("a.json", record()), ("a.png", b"1"), ("a.png", b"2")], r"two members a\.png"),
    ([("a.json", record(conversations=[{"from": "human", "value": "<image> ?"}, TURNS[1]]))], "1 <image> placeholder in the")])
def test_a_broken_sample_is_named_with_shard_key_and_place(members: list[tuple[str, bytes]], message: str, tmp_path: Path) -> None:
    shards = Shards(write_shard(tmp_path / "a.tar", [*members, ("b.json", record())]))
    with pytest.raises(BadSample, match=message):
        shards[0]
    assert shards[1].id == "b"


def test_a_broken_sample_is_skipped_and_counted_in_training(tmp_path: Path) -> None:
    whole = write_bars(tmp_path / "a.mp4").read_bytes()
    shards = Shards(write_shard(tmp_path / "a.tar", [
        ("a.json", record()), ("a.mp4", whole[:len(whole) // 2]), ("b.json", record()), ("b.mp4", whole)]), sampling=SegmentMid(2))
    loader = Loader(shards, toy().processor, Order(2, 2, seed=0), 0, 0, "skip")
    drawn = next(iter(loader))
    assert drawn.batch.ids == ("b", "b")
    assert len(drawn.skipped) == 1
    assert "a.mp4 is not a clip, or is damaged" in drawn.skipped[0]
    with pytest.raises(BadSample, match=r"sample 'a': a\.mp4 is not a clip, or is damaged.*on_error: skip"):
        list(Loader(shards, toy().processor, Order(2, 2, seed=0), 0, 0, "raise"))


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7])
def test_a_cut_off_shard_is_named_with_key_and_byte(part: float, tmp_path: Path) -> None:
    shard = Path(write_shard(tmp_path / "a.tar", [(f"{index}.{suffix}", bytes([65]) * 700) for index in range(9) for suffix in ("json", "png")]))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:int(len(whole) * part)])
    with pytest.raises(ValueError, match=r"a\.tar is cut off .*key '\d'.*copy it again"):
        Shards(str(shard))
    shard.write_bytes(whole[:6 * 1536])  # between two members
    with pytest.raises(ValueError, match=r"a\.tar is cut off at byte 9216, behind 2\.png, key '2'"):
        Shards(str(shard))
    shard.write_bytes(whole[:6 * 1536] + b"?" * 512 + whole[6 * 1536 + 512:])  # a damaged header
    with pytest.raises(ValueError, match=r"a\.tar is (damaged|cut off).* behind (byte|2\.png)"):
        Shards(str(shard))


def test_shards_put_one_behind_another_are_refused(tmp_path: Path) -> None:
    whole = Path(write_shard(tmp_path / "a.tar", [("a.json", record())])).read_bytes()
    (tmp_path / "b.tar").write_bytes(whole + whole)
    with pytest.raises(ValueError, match=r"b\.tar goes on behind the zeros.*key 'a'.*one by one"):
        Shards(str(tmp_path / "b.tar"))


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar file" * 200)
    (tmp_path / "bare").mkdir()
    for files, error, message in [
            (str(tmp_path / "a.tar"), ValueError, "A shard is an uncompressed tar file"),
            (str(tmp_path / "b.tar"), FileNotFoundError, r"did you mean a\.tar"),
            (str(tmp_path / "bare"), FileNotFoundError, r"a folder without \.tar files")]:
        with pytest.raises(error, match=message):
            Shards(files)


def test_packing_leaves_out_what_is_broken_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_source(tmp_path)
    (tmp_path / "4.png").unlink()
    assert main([str(file), "--out", str(tmp_path / "shards")]) == 1
    printed = capsys.readouterr().out
    assert "8 samples packed, 1 left out" in printed
    assert "4.png does not exist" in printed
    assert len(Shards(str(tmp_path / "shards" / "*.tar"))) == 8
    assert main([str(tmp_path / "nothing.json"), "--out", str(tmp_path / "shards")]) == 2


def test_shards_are_not_mixed_with_those_of_another_packing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = str(write_source(tmp_path, 3)), str(tmp_path / "shards")
    assert main([file, "--out", out, "--samples", "0"]) == 2
    assert "0 samples in a shard were asked for" in capsys.readouterr().err
    assert main([file, "--out", out, "--samples", "1"]) == 0
    assert main([file, "--out", out]) == 2
    assert "holds 000000.tar already" in capsys.readouterr().err
    assert len(Shards(out)) == 3
