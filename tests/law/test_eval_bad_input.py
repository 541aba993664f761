"""What users bring: broken pictures are found before the first answer, empty files and folders without a model are one line."""
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from eval.__main__ import main
from eval.frame.evaluating import evaluate, evaluate_together
from eval.frame.files import records
from eval.frame.options import Options
from eval.frame.processes import Alone
from eval.frame.usable import usable
from eval.mvbench import MVBench
from eval.pope import POPE
from mm.media import SegmentMid
from tests import layouts
from tests.answering import saved
from tests.crew import together
from tests.photos import paint
from tests.scripted import Scripted

NAMES = ("a.png", "b.png", "c.png", "d.png")


def copy(folder: Path, broken: Sequence[str] = ("b.png", "d.png")) -> POPE:
    """Official files about four pictures, of which one is cut short and one is missing."""
    (folder / "images").mkdir(parents=True)
    for name in NAMES:
        paint(24, 16).save(folder / "images" / name)
    if "b.png" in broken:
        (folder / "images" / "b.png").write_bytes((folder / "images" / "a.png").read_bytes()[:90])
    if "d.png" in broken:
        (folder / "images" / "d.png").unlink()
    rows = [{"question_id": number, "image": name, "text": f"Is there a {word} in the image?", "label": label}
            for number, (name, (word, label)) in enumerate((name, asked) for name in NAMES for asked in (("dog", "yes"), ("cat", "no")))]
    (folder / "coco_pope_random.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return POPE(str(folder), str(folder / "images"))


def test_a_broken_picture_stops_before_the_first_answer(tmp_path: Path) -> None:
    model = Scripted(lambda item: "yes")
    with pytest.raises(ValueError, match=r"item random/2: .*b\.png .* 2 of 4 pictures cannot be read, which 4 of 8 items .*--on_error skip") as error:
        evaluate("pope", copy(tmp_path / "copy"), model, Options(str(tmp_path)))
    assert model.asked == []
    assert "\n" not in str(error.value)


def test_skipped_items_are_counted_and_named(tmp_path: Path) -> None:
    result = evaluate("pope", copy(tmp_path / "copy"), Scripted(lambda item: "yes"), Options(str(tmp_path), on_error="skip"))
    assert result.n == 4
    assert result.settings["skipped"] == ["random/2", "random/3", "random/6", "random/7"]
    (remark,) = [remark for remark in result.remarks if "left out" in remark]
    assert "2 pictures could not be read, and the 4 items about them were left out" in remark
    assert "b.png" in remark
    assert "d.png" in remark


def test_processes_find_the_same_faults(tmp_path: Path) -> None:
    benchmark, options = copy(tmp_path / "copy"), Options(str(tmp_path), on_error="skip", out=str(tmp_path / "three"))
    first, *_ = together(3, lambda member: evaluate_together("pope", benchmark, Scripted(lambda item: "yes"), options, member))
    alone = evaluate_together("pope", benchmark, Scripted(lambda item: "yes"), Options(str(tmp_path), on_error="skip"), Alone())
    assert alone is not None
    assert (first.settings, first.remarks, first.scores) == (alone.settings, alone.remarks, alone.scores)


def test_nothing_is_left_to_ask(tmp_path: Path) -> None:
    benchmark = copy(tmp_path / "copy")
    items = [item for item in benchmark.items() if item.picture in ("b.png", "d.png")]
    with pytest.raises(ValueError, match=r"2 of 2 pictures cannot be read, which 4 of 4 items are about\. Complete the folder\.$"):
        usable(items, "skip", Alone())


def test_a_repaired_folder_is_no_continuation_of_a_broken_one(tmp_path: Path) -> None:
    model, options = Scripted(lambda item: "yes"), Options(str(tmp_path), on_error="skip")
    evaluate("pope", copy(tmp_path / "copy"), model, options)
    paint(24, 16).save(tmp_path / "copy" / "images" / "d.png")
    with pytest.raises(ValueError, match="skipped was"):
        evaluate("pope", POPE(str(tmp_path / "copy"), str(tmp_path / "copy" / "images")), model, options)


def test_clips_are_left_to_their_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = MVBench(str(layouts.mvbench(tmp_path / "copy")), sampling=SegmentMid(2))
    items = benchmark.items()
    monkeypatch.setattr("eval.frame.usable.fault_of", lambda item: "read")
    assert usable(items, "stop", Alone()).items == items


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run"))


def told(given: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(given) == 2
    said = capsys.readouterr().err
    assert said.startswith("eval: ")
    assert said.count("\n") == 1
    return said


def test_empty_questions_are_one_line(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "coco_pope_random.json").write_text("\n")
    assert "holds no records" in told(["pope", "--model", str(directory), "--pope.data", str(tmp_path)], capsys)


def test_a_folder_without_images_is_named(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(tmp_path / "copy", broken=())
    assert "no image folder was given" in told(["pope", "--model", str(directory), "--pope.data", str(tmp_path / "copy")], capsys)


@pytest.mark.parametrize(("files", "said"), [
    ({}, "neither it nor its model/ holds config.json"),
    ({"config.json": "{"}, "is not JSON"),
    ({"config.json": '{"format": 77}'}, "format 77"),
    ({"config.json": '{"model_type": "llava"}'}, "holds no processor"),
    ({"config.json": '{"model_type": "gpt2"}'}, "gpt2 is none")], ids=["empty", "torn", "version", "no-weights", "text-only"])
def test_a_folder_that_holds_no_model_is_one_line(files: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert said in told(["pope", "--model", str(tmp_path)], capsys)


def test_separators_of_unicode_do_not_end_a_record(tmp_path: Path) -> None:
    """JSON text may hold them as they are, and answers that are exported do."""
    rows = [{"text": f"a{mark}b"} for mark in ("\u2028", "\u2029", "\u0085")]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows).encode())
    assert records(file) == rows
