"""A conversation file is read as it is written, whatever its size and form."""
import json
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import data.records
from data.llava import Conversations
from data.records import Records
from mm.sample import BadSample, Sample, Turn
from tests.clips import moving_square, write_clip
from tests.photos import paint, photographs, png, write_photographs
from tests.samples import same


def human(text: str) -> dict[str, object]:
    return {"from": "human", "value": text}


def gpt(text: str, **more: object) -> dict[str, object]:
    return {"from": "gpt", "value": text} | more


def one(folder: Path, **record: object) -> Sample:
    """The sample that a record becomes, with the pictures a.png and b.png and the clip c.mkv at hand."""
    (folder / "a.png").write_bytes(png(paint(20, 16)))
    (folder / "b.png").write_bytes(png(paint(16, 20)))
    write_clip(folder / "c.mkv", moving_square(5))
    (folder / "one.jsonl").write_text(json.dumps({"id": "one"} | record))
    return Conversations(str(folder / "one.jsonl"))[0]


def shapes(sample: Sample) -> list[tuple[str, tuple[int, ...]]]:
    return [(media.kind, media.frames.shape[:3]) for media in sample.media]


def test_a_record_becomes_its_sample(tmp_path: Path) -> None:
    sample = one(tmp_path, image="a.png", conversations=[
        {"from": "system", "value": "Be brief."}, human("<image>\nwhat ?"), gpt("a disc", weight=0.5, task="object"), human("where ?"), gpt("left")])
    assert sample.id == "one"
    assert sample.system == "Be brief."
    assert sample.turns == (Turn("<image>\nwhat ?", "a disc", 0.5, "object"), Turn("where ?", "left"))
    assert np.array_equal(sample.media[0].frames[0], np.asarray(paint(20, 16)))


def test_the_answer_decides_on_weight_and_task_and_the_question_where_it_is_silent(tmp_path: Path) -> None:
    sample = one(tmp_path, conversations=[human("a ?") | {"weight": 2, "task": "t"}, gpt("x"), human("b ?") | {"weight": 2}, gpt("y", weight=0)])
    assert [(turn.weight, turn.task) for turn in sample.turns] == [(2.0, "t"), (0.0, "")]


def test_media_follow_the_placeholders(tmp_path: Path) -> None:
    sample = one(tmp_path, image=["a.png", "b.png"], video="c.mkv", conversations=[
        human("<image> before <video>"), gpt("yes"), human("and <image> ?"), gpt("no")])
    assert shapes(sample) == [("image", (1, 16, 20)), ("clip", (5, 32, 48)), ("image", (1, 20, 16))]


def test_media_without_a_placeholder_are_put_in_front_of_the_first_question(tmp_path: Path) -> None:
    sample = one(tmp_path, image=["a.png", "b.png"], video="c.mkv", conversations=[human("what ?"), gpt("x"), human("why ?"), gpt("y")])
    assert [turn.question for turn in sample.turns] == ["<image>\n<image>\n<video>\nwhat ?", "why ?"]
    assert [kind for kind, _ in shapes(sample)] == ["image", "image", "clip"]


def test_a_video_may_be_called_an_image(tmp_path: Path) -> None:
    sample = one(tmp_path, video="c.mkv", conversations=[human("<image>\nwhat ?"), gpt("x")])
    assert sample.turns[0].question == "<video>\nwhat ?"


def test_a_text_alone_is_a_sample(tmp_path: Path) -> None:
    assert one(tmp_path, conversations=[human("what ?"), gpt("x")]).media == ()


def test_the_form_of_messages_says_the_same(tmp_path: Path) -> None:
    plain = one(tmp_path, image="a.png", system="s", conversations=[human("<image>\nwhat ?"), gpt("x")])
    assert same(plain, one(tmp_path, images=["a.png"], messages=[
        {"role": "system", "content": "s"}, {"role": "user", "content": "<image>\nwhat ?"}, {"role": "assistant", "content": "x"}]))
    assert same(plain, one(tmp_path, system="s", messages=[
        {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "what ?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "x"}]}]))
    for part in ({"type": "image", "path": "a.png"}, {"type": "image", "url": "a.png"}, {"type": "image_url", "image_url": {"url": "a.png"}}):
        assert same(plain, one(tmp_path, system="s", messages=[
            {"role": "user", "content": [part, {"type": "text", "text": "what ?"}]}, {"role": "assistant", "content": "x"}]))
    assert same(plain, one(tmp_path, system="s", images=["a.png"], messages=[
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what ?"}]}, {"role": "assistant", "content": "x"}]))


def test_files_are_named_in_the_record_or_in_the_parts_and_not_in_both(tmp_path: Path) -> None:
    """Their order would be a guess."""
    part = {"type": "image", "image": "b.png"}
    with pytest.raises(BadSample, match="image files are named under 'image' and in the parts of messages, expected one of them"):
        one(tmp_path, images=["a.png"], messages=[{"role": "user", "content": [part, {"type": "image"}]}, {"role": "assistant", "content": "x"}])
    with pytest.raises(BadSample, match=r"names \['a.png', 'b.png'\], expected one file name"):
        one(tmp_path, messages=[{"role": "user", "content": [part | {"image": "a.png", "url": "b.png"}]}, {"role": "assistant", "content": "x"}])


def test_a_record_without_an_id_is_called_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "two.json").write_text(json.dumps([{"conversations": [human("a"), gpt("b")]}] * 2, indent=1))
    data = Conversations(str(tmp_path / "two.json"))
    assert [data[i].id for i in range(2)] == ["two.json:2", "two.json:14"]


def test_file_names_are_relative_to_the_file_or_to_the_media_folder(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    file = write_photographs(folder)
    moved = tmp_path / "moved.json"
    moved.write_bytes(file.read_bytes())
    assert same(Conversations(str(file))[0], Conversations(str(moved), media=str(folder))[0])


def test_the_ten_photographs_are_read(tmp_path: Path) -> None:
    samples = list(Conversations(str(write_photographs(tmp_path))))
    assert [sample.media[0].frames.shape[2:0:-1] for sample in samples] == [seen.size for _, seen in photographs().values()]
    assert all(len(sample.turns) == 2 for sample in samples)


RECORDS = [{"id": i, "text": "é\"\\ 𝛼 {[,]} \n\t" * i, "list": [1.5, True, None, {"a": "]"}]} for i in range(12)]
FORMS = {
    "array": json.dumps(RECORDS), "spread array": json.dumps(RECORDS, indent=2, ensure_ascii=False) + "\n\n",
    "lines": "\n".join(map(json.dumps, RECORDS)), "lines with blanks": "\r\n\r\n".join(json.dumps(r, ensure_ascii=False) for r in RECORDS) + "\r\n",
    "array with mark": "\ufeff \n" + json.dumps(RECORDS, ensure_ascii=False), "lines with mark": "\ufeff" + "\n".join(map(json.dumps, RECORDS)),
}


@pytest.mark.parametrize("chunk", [1, 7, 2**20])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gives_the_same_records(form: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.records, "CHUNK", chunk)
    (tmp_path / "records").write_bytes(FORMS[form].encode())
    records = Records(tmp_path / "records")
    assert [records[i] for i in range(len(records))] == RECORDS
    content = FORMS[form].encode().splitlines()
    assert all(b"{" in content[line - 1] for line in records.table[:, 2])


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_large_file_is_not_held_in_memory(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.records, "CHUNK", 2**16)
    record = {"id": "x", "conversations": [human("q" * 2000), gpt("a" * 2000)]}
    lines = [json.dumps(record)] * 5000  # 20 MB
    (tmp_path / "large").write_text("[" + ",\n".join(lines) + "]" if form == "array" else "\n".join(lines))
    tracemalloc.start()
    found = Conversations(str(tmp_path / "large"))
    assert found[4999].turns[0].answer == "a" * 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 5000
    assert peak < 2e6


def test_threads_workers_and_copies_read_the_same(tmp_path: Path) -> None:
    found = Conversations(str(write_photographs(tmp_path)))
    alone = [found[i] for i in range(10)]
    with ThreadPoolExecutor(4) as pool:
        assert all(map(same, alone, pool.map(found.__getitem__, range(10))))
    assert all(map(same, alone, DataLoader(found, batch_size=None, num_workers=2)))
    assert same(alone[3], pickle.loads(pickle.dumps(found))[3])
