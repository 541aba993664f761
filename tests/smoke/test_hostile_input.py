"""What users bring that is broken: each gives one error that names the item, what was found, what was expected and what to do; none costs more."""
import io
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from torch.utils.data import DataLoader

from data.check import census, main
from data.llava import Conversations
from mm.media.errors import BrokenMedia
from mm.media.images import Limits, load_image
from mm.media.video import load_video
from mm.sample import BadSample
from tests.photos import animation, jpeg, paint, png

ROOT = Path(__file__).parents[2]
HUMAN, GPT = {"from": "human", "value": "<image>\nis there a circle ?"}, {"from": "gpt", "value": "yes"}


def record(**changes: object) -> dict[str, object]:
    return {"id": "7", "image": "a.png", "conversations": [HUMAN, GPT]} | changes


def written(folder: Path, *records: object) -> str:
    """A file of these records, and the one picture that they mention."""
    (folder / "a.png").write_bytes(png(paint(20, 16)))
    (folder / "data.json").write_text(json.dumps(records))
    return str(folder / "data.json")


def reason(record: dict[str, object], folder: Path) -> str:
    with pytest.raises(BadSample) as caught:
        Conversations(written(folder, record))[0]
    return str(caught.value)


def large_png(side: int, claimed: int | None = None) -> bytes:
    """A PNG of this many white pixels a side, a hundred million in a hundred kilobytes; its header may claim another side."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    rows = zlib.compress((b"\0" + b"\xff" * side) * side, 1)
    header = (claimed or side).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def large_jpeg(side: int, progressive: bool = False) -> bytes:
    out = io.BytesIO()
    Image.new("L", (side, side), 200).save(out, "JPEG", progressive=progressive)
    return out.getvalue()


# --- pictures ---------------------------------------------------------------------------------------------------------------------------------------

def cut(content: bytes) -> bytes:
    return content[:len(content) // 2]


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated.png": (lambda: cut(png(paint(64, 64))), "damaged: .*truncated.* Copy or download it again"),
    "truncated.jpg": (lambda: cut(jpeg(paint(64, 64))), "damaged: .*truncated.* Copy or download it again"),
    "truncated.gif": (lambda: cut(animation(paint(64, 64), "GIF"))[:900], "damaged"),
    "truncated.webp": (lambda: cut(animation(paint(64, 64), "WEBP"))[:60], "damaged"),
    "header_only.png": (lambda: png(paint(64, 64))[:20], "damaged"),
    "flipped_bits.png": (lambda: bytes(b ^ 255 if i > 60 else b for i, b in enumerate(png(paint(64, 64)))), "damaged"),
    "empty.png": (lambda: b"", r"empty \(0 bytes\); write it again"),
    "page.html": (lambda: b"<html>404 not found</html>", "not a picture in a known format .*JPEG, .*; convert it"),
    "one_pixel.png": (lambda: png(paint(1, 1)), "1 x 1 pixels are less than the min_side of 8; crop or leave it out, or lower min_side"),
    "thread.png": (lambda: png(paint(4000, 9)), "4000 x 9 pixels, reduced to max_side 2048, are less than the min_side of 8"),
    "huge.png": (lambda: large_png(10_000), r"10000 x 10000 = 100.0 million pixels, more than the max_pixels of 33.6 .* 1.5 GiB\); make it"),
    "bomb.png": (lambda: large_png(100, claimed=60_000), "decompression bomb.* Make it smaller"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_named_with_its_fault(name: str, tmp_path: Path) -> None:
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content())
    with pytest.raises(BrokenMedia, match=f"(?s){name}.*{message}"):
        load_image(tmp_path / name)


def peak_memory(picture: Path) -> tuple[str, float]:
    """What reading a picture in a fresh process says, and the MB that it took beyond the start. (VmHWM: ru_maxrss remembers the parent's.)"""
    program = f"""
import pathlib
from mm.media.images import load_image
def peak(): return int(next(l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM")).split()[1]) / 1024
before = peak()
try: print(load_image({str(picture)!r}).shape)
except ValueError as error: print(error)
print(peak() - before)"""
    out = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return out[0], float(out[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process's memory is read from Linux' /proc")
def test_a_picture_of_ten_thousand_by_ten_thousand_takes_bounded_memory(tmp_path: Path) -> None:
    contents = {"baseline.jpg": large_jpeg(10_000), "huge.png": large_png(10_000), "progressive.jpg": large_jpeg(10_000, progressive=True)}
    expected = {"baseline.jpg": "(2048, 2048, 3)", "huge.png": "more than the max_pixels", "progressive.jpg": "save it as baseline JPEG"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        said, megabytes = peak_memory(tmp_path / name)
        assert expected[name] in said
        assert megabytes < 100, f"{name} took {megabytes} MB; its pixels alone are 300 MB"


def test_a_missing_picture_suggests_the_nearest_name(tmp_path: Path) -> None:
    assert "b.png does not exist; did you mean a.png?" in reason(record(image="b.png"), tmp_path)
    assert "its path ends at the folder" in reason(record(image="train/b.png"), tmp_path)
    assert "is an address or inline data, expected a file name" in reason(record(image="https://host/b.png"), tmp_path)
    assert "cannot be reached" in reason(record(image="x" * 5000), tmp_path)


def test_a_broken_clip_is_named_with_its_fault(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"not a clip" * 100)
    with pytest.raises(BrokenMedia, match=r"clip.mp4 is not a clip, or is damaged: .* Copy or convert it again"):
        load_video(tmp_path / "clip.mp4")


# --- files ------------------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("content", ["", " \n\n", "[]", "\ufeff"])
def test_a_file_without_records_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"data.jsonl holds no records; expected a JSON array of them, or one in each line"):
        Conversations(str(tmp_path / "data.jsonl"))


def test_a_malformed_line_is_named_with_line_and_column(tmp_path: Path) -> None:
    written(tmp_path)
    good = json.dumps(record())
    (tmp_path / "data.jsonl").write_text("\n".join([good, "", good, good[:20], good]))
    data = Conversations(str(tmp_path / "data.jsonl"))
    assert [data[i].id for i in (0, 1, 3)] == ["7", "7", "7"]
    with pytest.raises(BadSample, match=r"data.jsonl:4.*data.jsonl, line 4, column 21: not JSON \(.*\)\. Mend the line"):
        data[2]


@pytest.mark.parametrize(("content", "place"), [
    ('[{"id": 1},\n {"id": 2,}]', "line 2, column 11"), ('[{"id": 1}\n {"id": 2}]', r"line 2, column 2: not JSON \(expected ','"),
    ('[{"id": "1}]\n', "line 1, column 13"), ('[{"id": 1}', r"line 1, column 11: not JSON \(expected ','"), ('[{"id": 1}] 3', "line 1, column 13"),
    ('[{"id": 1},]', "line 1, column 12")])
def test_a_malformed_array_is_named_with_line_and_column(content: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(ValueError, match=place):
        Conversations(str(tmp_path / "data.json"))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    content = json.dumps(record(id="é"), ensure_ascii=False).encode("latin-1")
    (tmp_path / "lines.jsonl").write_bytes(content)
    (tmp_path / "array.json").write_bytes(b"[" + content + b"]")
    with pytest.raises(BadSample, match="line 1, byte 9: not UTF-8"):
        Conversations(str(tmp_path / "lines.jsonl"))[0]
    with pytest.raises(ValueError, match=r"array.json.*not UTF-8 .*save the file as UTF-8"):
        Conversations(str(tmp_path / "array.json"))


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, record())
    with pytest.raises(FileNotFoundError, match=r"date.json does not exist; did you mean data.json\?"):
        Conversations(str(tmp_path / "date.json"))
    with pytest.raises(FileNotFoundError, match=r"the media folder .*nowhere is not a folder"):
        Conversations(file, media=str(tmp_path / "nowhere"))


# --- records ----------------------------------------------------------------------------------------------------------------------------------------

TWO = {"from": "human", "value": "<image>\n<image>\nwhich is larger ?"}
FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "more placeholders than images": ({"conversations": [TWO, GPT]}, "2 <image> placeholders in the questions but 1 image file, expected as many"),
    "fewer placeholders than images": ({"image": ["a.png"] * 3}, "1 <image> placeholder in the questions but 3 image files"),
    "a placeholder and no image": ({"image": None}, "1 <image> placeholder in the questions but 0 image files"),
    "a placeholder in an answer": ({"conversations": [HUMAN, {"from": "gpt", "value": "see <image>"}]}, "message 2 from 'gpt' holds <image>"),
    "no conversation": ({"conversations": None}, "has the keys 'id', 'image', 'conversations', expected 'conversations' \\(or 'messages'\\)"),
    "an empty conversation": ({"conversations": []}, "'conversations' is not a list of messages with something in it"),
    "a message without text": ({"conversations": [HUMAN, {"from": "gpt"}]}, "message 2 has the keys 'from', expected 'from' and 'value'"),
    "a number for a text": ({"conversations": [HUMAN, {"from": "gpt", "value": 3}]}, "message 2 is '3' \\(int\\), expected a text"),
    "an unknown role": ({"conversations": [HUMAN, {"from": "robot", "value": "yes"}]}, "message 2 is from 'robot', expected one of human, user, gpt"),
    "no answer": ({"conversations": [HUMAN]}, "the last of 1 messages is a question, expected an answer; write it"),
    "two questions": ({"conversations": [HUMAN, HUMAN, GPT]}, "message 2 is a question, expected an answer; questions"),
    "an answer first": ({"conversations": [GPT, HUMAN]}, "message 1 is an answer, expected a question"),
    "zero labelled tokens": ({"conversations": [HUMAN, {"from": "gpt", "value": " "}]}, "message 2 is an empty answer, from which nothing can be"),
    "a negative weight": ({"conversations": [HUMAN, GPT | {"weight": -1}]}, "the weight of message 2 is -1, expected a number that is 0 or more"),
    "a number for an image": ({"image": 3}, "a name under 'image' is '3' \\(int\\), expected a text"),
    "a folder for an image": ({"image": "."}, "is a folder, not a file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_misformed_record_is_named_with_its_fault(fault: str, tmp_path: Path) -> None:
    changes, message = FAULTS[fault]
    said = reason(record(**changes), tmp_path)
    assert said.startswith("sample '7': ")
    assert re.search(message, said)


def test_a_record_that_is_no_object_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('[\n3]')
    with pytest.raises(BadSample, match=r"data.json, line 2: found a int, expected a record"):
        Conversations(str(tmp_path / "data.json"))[0]


def test_broken_samples_are_counted_and_the_others_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, record(id="a"), record(id="b", image="b.png"), record(id="c"), record(id="d", conversations=[TWO, GPT]))
    found = census(Conversations(file), range(4))
    assert (found.samples, [id for id, _ in found.broken]) == (2, ["b", "d"])
    assert main([file]) == 1
    printed = capsys.readouterr().out
    assert "2 usable samples, 2 broken" in printed
    assert "broken: sample 'd': 2 <image> placeholders" in printed
    assert main([file, "--limit", "1"]) == 0
    assert main([str(tmp_path / "none.json")]) == 2


def test_the_error_of_a_sample_survives_the_way_out_of_a_worker(tmp_path: Path) -> None:
    file = written(tmp_path, record(image="b.png"))
    loader = DataLoader(Conversations(file), batch_size=None, num_workers=1)
    with pytest.raises(BadSample, match=r"did you mean a\.png"):
        next(iter(loader))


def test_a_small_picture_is_accepted_where_that_is_configured(tmp_path: Path) -> None:
    file = written(tmp_path, record())
    (tmp_path / "a.png").write_bytes(png(paint(1, 1)))
    assert Conversations(file, limits=Limits(min_side=1))[0].media[0].frames.shape == (1, 1, 1, 3)
