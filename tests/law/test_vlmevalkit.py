"""VLMEvalKit's files: what is exported comes back as predictions under the same verdicts, and rows that do not belong are named."""
import base64
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpyxl import Workbook
from PIL import Image

from eval.clients.predictions import FAILED
from eval.clients.table import entries, write_table
from eval.clients.vlmevalkit import main
from eval.frame.benchmark import Item, Row
from eval.pope import POPE
from mm.sample import Media

ODD = ("Yes", "no.", "", "Yes and no", "Yes, there is.\nIndeed\t\"so\"", "да", "=1+1", "3", "no " * 3333 + "n")


def pope() -> POPE:
    return POPE(size=8)


def picture(level: int = 0) -> tuple[Media, ...]:
    return (Media(np.full((1, 9, 9, 3), level, np.uint8)),)


def item(id: str, question: str, row: Row, **more: Any) -> Item:
    return Item(id, more.pop("picture", "a.jpg"), picture, f"<image>\n{question}", row, **more)


def read(path: Path) -> list[Row]:
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def answered(rows: Sequence[Row], answer: Callable[[int], str]) -> list[Row]:
    """As VLMEvalKit adds its column: it drops the pictures."""
    return [{**{name: value for name, value in row.items() if name != "image"}, "prediction": answer(i)} for i, row in enumerate(rows)]


def as_xlsx(path: Path, rows: list[Row], names: list[str]) -> None:
    book = Workbook()
    book.active.append(names)
    for line, row in enumerate(rows, 2):
        for column, (name, value) in enumerate(((name, row[name]) for name in names), 1):
            cell = book.active.cell(line, column, int(value) if name == "index" and value.isdecimal() else value or None)
            cell.data_type = "s" if isinstance(cell.value, str) else cell.data_type  # text that looks like a formula stays text
    book.save(path)


def as_tsv(path: Path, rows: list[Row], names: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, delimiter="\t", quoting=csv.QUOTE_ALL)
        table.writeheader()
        table.writerows(rows)


def as_json(path: Path, rows: list[Row], names: list[str]) -> None:
    path.write_text(json.dumps([{name: int(row[name]) if name == "index" else row[name] for name in names} for row in rows], indent=4))


SHEET = {"xlsx": as_xlsx, "tsv": as_tsv, "json": as_json}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """POPE on eight scenes, exported."""
    path = tmp_path_factory.mktemp("lmu") / "POPE_world.tsv"
    assert main(["export", "pope", "--out", str(path), "--pope.size", "8"]) == 0
    return read(path)


# --- export


def test_every_question_is_there_once_with_its_splits_and_its_picture(table: list[Row]) -> None:
    items = pope().items()
    assert [row["index"] for row in table] == [str(i) for i in range(len(table))]
    asked = {(item.picture, item.question) for item in items}
    assert {(row["image_path"].removesuffix(".png"), "<image>\n" + row["question"]) for row in table} == asked
    assert len(table) == len(asked)
    assert sum(len(row["category"].split(",")) for row in table) == len(items)
    assert {name for row in table for name in row["category"].split(",")} == {"random", "popular", "adversarial"}
    assert {row["answer"] for row in table} == {"Yes", "No"}


def test_a_picture_is_held_once_and_without_loss(table: list[Row]) -> None:
    pixels = {item.picture: item.media()[0].frames[0] for item in pope().items()}
    held = {row["index"]: row["image"] for row in table}
    assert sum(len(image) > 64 for image in held.values()) == len(pixels)
    for row in table:
        image = row["image"] if len(row["image"]) > 64 else held[row["image"]]
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))))
        assert np.array_equal(found, pixels[row["image_path"].removesuffix(".png")])


HALLUSION = {"category": "VS", "subcategory": "chart", "visual_input": "1", "set_id": "3", "figure_id": "0", "question_id": "2", "gt_answer": "1",
             "filename": "VS/chart/3_0.png", "question": "Is it so?", "gt_answer_details": "It is."}


@pytest.mark.parametrize(("given", "columns"), [
    (item("1", "is it ?", {"label": "no", "task": "count"}, split="count"),
     {"index": "0", "question": "is it ?", "answer": "No", "category": "count"}),
    (item("1", "Is it so?", HALLUSION), {"index": "VS_chart_1_3_0_2", "answer": "Yes", "category": "VS", "l2-category": "chart"}),
    (item("1", "What? (A) x (B) y", {"question": "What?", "choices": ["x", "y"], "label": "B"}, split="ADE"),
     {"question": "What?", "A": "x", "B": "y", "answer": "B", "category": "ADE"}),
    (item("1", "What?", {"candidates": ["x", "y"], "label": "A"}), {"question": "What?", "A": "x", "B": "y", "answer": "A"}),
    (item("1", "Open?", {"question": "Open?", "options": "(a) Open (b) Not open", "label": "B"}), {"A": "Open", "B": "Not open", "answer": "B"}),
    (item("1", "is it ?", {"truth": "yes", "type": "relation"}), {"question": "is it ?", "answer": "Yes", "category": "relation"}),
    (item("1", "describe it", {"objects": ["star"]}), {"question": "describe it", "answer": "", "category": ""}),
], ids=["mme", "hallusionbench", "choices", "candidates", "mmvp", "amber", "captions"])
def test_columns_are_those_that_its_scores_look_for(given: Item, columns: Mapping[str, str], tmp_path: Path) -> None:
    write_table(entries([given]), tmp_path / "a.tsv")
    row = read(tmp_path / "a.tsv")[0]
    assert {name: row[name] for name in columns} == columns
    assert row["image_path"] == "a.jpg"


def test_several_pictures_are_a_list_and_none_is_no_row(tmp_path: Path) -> None:
    two = item("1", "same ?", {"label": "yes"}, picture="b/c")
    both = replace(two, question="<image>\n<image>\nsame ?", media=lambda: (*picture(1), *picture(2)))
    blind = replace(item("2", "so ?", HALLUSION), question="so ?", media=tuple)
    write_table(entries([both, blind]), tmp_path / "a.tsv")
    row, = read(tmp_path / "a.tsv")
    assert row["image_path"] == "['b_c_0.png', 'b_c_1.png']"
    assert len(json.loads(row["image"].replace("'", '"'))) == 2


def test_the_same_question_with_another_truth_is_another_row() -> None:
    pair = [item(str(i), "is it ?", {"label": label}, split=label) for i, label in enumerate(("yes", "no"))]
    assert [entry.index for entry in entries(pair)] == ["0", "1"]
    figures = [item(str(i), "Is it so?", {**HALLUSION, "question_id": str(i)}) for i in range(2)]
    assert [entry.index for entry in entries(figures)] == ["VS_chart_1_3_0_0", "VS_chart_1_3_0_1"]


# --- score


@pytest.mark.parametrize("suffix", sorted(SHEET))
def test_predictions_are_judged_as_if_we_had_asked(table: list[Row], suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark, file = pope(), tmp_path / f"M_POPE_world.{suffix}"
    rows = answered(table, lambda i: ODD[i % len(ODD)])
    SHEET[suffix](file, rows[::-1], list(rows[0]))  # their order does not matter
    for parser in ("vlmevalkit", "official", "lmms_eval", "strict"):
        said = ["score", "pope", "--predictions", str(file), "--out", str(tmp_path / "out"), "--parser", parser, "--pope.size", "8"]
        assert main(said) == 0, capsys.readouterr().err
        texts = {(row["image_path"].removesuffix(".png"), row["question"]): row["prediction"] for row in rows}
        direct = [{**item.row, "id": item.id, "picture": item.picture, "answer": texts[item.picture, item.row["text"]], "logp": None, "tokens": None}
                  for item in benchmark.items()]
        judged = [{**row, **benchmark.judge(row, parser)} for row in direct]
        stem = "pope" if parser == "official" else f"pope-{parser}"
        assert [json.loads(line) for line in (tmp_path / "out" / f"{stem}.rows.jsonl").read_text().splitlines()] == judged
        result, expected = json.loads((tmp_path / "out" / f"{stem}.json").read_text()), benchmark.aggregate(judged)
        assert {name: score["value"] for name, score in result["scores"].items()} == {name: score.value for name, score in expected.scores.items()}
        assert (result["n"], result["unparsed"]) == (len(direct), expected.unparsed)
        assert result["unparsed"] > 0
        assert result["config"]["model"]["name"] == file.stem
        assert "greedy" not in str(result["settings"])  # nobody knows how they decoded


def without(row: Row, name: str) -> Row:
    return {key: value for key, value in row.items() if key != name}


BAD: dict[str, tuple[Callable[[list[Row]], list[Row]], str]] = {
    "missing": (lambda rows: rows[2:], r"2 rows are missing \(index 0, 1\)"),
    "twice": (lambda rows: [*rows, rows[3]], r"1 rows occur more than once \(index 3\)"),
    "extra": (lambda rows: [*rows, {**rows[0], "index": "999"}], r"1 rows are not of this export \(index 999\)"),
    "other": (lambda rows: [{**rows[0], "question": "why ?"}, *rows[1:]], r"1 rows ask something else than was exported \(index 0\)"),
    "failed": (lambda rows: [*rows[:-1], {**rows[-1], "prediction": f"{FAILED} via API."}], "run VLMEvalKit again"),
    "score file": (lambda rows: [without(row, "prediction") for row in rows], "has no column prediction; it has index, image_path"),
    "empty": (lambda rows: [], "holds no predictions")}


@pytest.mark.parametrize("name", sorted(BAD))
@pytest.mark.parametrize("suffix", ["tsv", "xlsx"])
def test_rows_that_do_not_belong_are_named(
        table: list[Row], suffix: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, said = BAD[name]
    rows = answered(table, lambda i: "Yes")
    changed = change(rows)
    SHEET[suffix](tmp_path / f"a.{suffix}", changed, list((changed or rows)[0]))
    assert main(["score", "pope", "--predictions", str(tmp_path / f"a.{suffix}"), "--out", str(tmp_path / "out"), "--pope.size", "8"]) == 2
    found = capsys.readouterr().err
    assert re.search(said, found), found
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "said"), [
    ([], "say export or score first"), (["export"], "name the benchmarks first"), (["export", "pope", "--out", "a.csv"], "reads .tsv files"),
    (["export", "pope", "skills", "--out", "a.tsv"], "is one benchmark; got pope, skills"), (["export", "order", "--out", "a.tsv"], "about a clip"),
    (["score", "pope", "--predictions", "a.xlsx", "--out", "out"], "there is no file a.xlsx"),
    (["score", "pope", "--predictions", "a.csv", "--out", "out"], "predictions of VLMEvalKit are .xlsx, .tsv, .json"),
    (["score", "pope", "--predictions", "broken.xlsx", "--out", "out"], "broken.xlsx is no .xlsx file"),
    (["score", "chair", "--predictions", "a.csv", "--out", "out"], "chair has the parsers official"),
], ids=["nothing", "unnamed", "suffix", "two", "clips", "no file", "kind", "broken", "parser"])
def test_what_cannot_be_done_is_one_clear_error(
        given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").touch()
    (tmp_path / "broken.xlsx").write_text("no zip")
    assert main(given) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "broken.xlsx"]


def test_without_the_reader_of_sheets_it_says_what_to_install(
        table: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    as_xlsx(tmp_path / "a.xlsx", answered(table, lambda i: "Yes"), ["index", "prediction"])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert main(["score", "pope", "--predictions", str(tmp_path / "a.xlsx"), "--out", str(tmp_path / "out"), "--pope.size", "8"]) == 2
    assert "install mm-attention[xlsx]" in capsys.readouterr().err
