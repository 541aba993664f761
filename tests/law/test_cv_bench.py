"""CV-Bench on a tiny copy in its official layout, with scripted models."""
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from eval.__main__ import evaluate, main
from eval.cv_bench import CVBench, files, load
from tests import picture_layouts
from tests.clip_benchmarks import options
from tests.scripted import Scripted
from tests.vlms import toy


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_layouts.cv_bench(tmp_path_factory.mktemp("cv_bench"))


def test_cv_bench_means_over_sources(copy: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "(C) six" if item.row["source"] == "COCO" else f"({item.row['label']})")
    result = evaluate("cv_bench", CVBench(str(copy)), model, options(tmp_path))
    value = {name: score["value"] for name, score in result.scores.items()}
    assert (result.n, result.unparsed, result.remarks) == (8, 0, [])
    assert (value["ADE20K/accuracy"], value["COCO/accuracy"], value["Omni3D/accuracy"], value["Relation/accuracy"]) == (1, 0, 1, 0)
    assert (value["2D/accuracy"], value["3D/accuracy"], value["combined/accuracy"], value["pooled/accuracy"]) == (0.5, 1, 0.75, 0.75)
    exported = [json.loads(line) for line in (tmp_path / "cv_bench.answers.jsonl").read_text().splitlines()]
    assert {key: exported[1][key] for key in ("image", "answer", "gt_answer", "category", "source", "result")} == {
        "image": "img/2D/relation/coco_1.png", "answer": "(C) six", "gt_answer": "(B)", "category": "Relation", "source": "COCO", "result": 0}


def test_the_question_is_the_rows_prompt_or_made_like_it(copy: Path) -> None:
    first, second = CVBench(str(copy)).items()[:2]
    assert first.question == ("<image>\nCount 0? Select from the following choices.\n(A) one\n(B) two\n(C) six\n"
                              "Answer with the option's letter from the given choices directly.")
    assert second.question == first.question.replace("Count 0", "Relation 1")
    assert first.media()[0].frames.shape == (1, 24, 32, 3)


READ = {"official": {"no option": "", "Answer: (B) or so": "B", "A dog": "A", "答案是 B": "", "B" * 10000: "B", "C": "C"},
        "lmms_eval": {"no option": "", "Answer: (B) or so": "A", "A dog": "A", "答案是 B": "", "B" * 10000: "B", "C": "C"},
        "strict": {"no option": "", "Answer: (B) or so": "", "A dog": "", "答案是 B": "", "B" * 10000: "", "C": "C"}}


@pytest.mark.parametrize("parser", READ)
@pytest.mark.parametrize("odd", ["", *READ["strict"]], ids=lambda odd: repr(odd[:12]))
def test_odd_answers_are_counted(copy: Path, tmp_path: Path, parser: str, odd: str) -> None:
    result = evaluate("cv_bench", CVBench(str(copy)), Scripted(lambda item: odd), options(tmp_path, parser))
    letter = READ[parser].get(odd, "")
    assert (result.n, result.unparsed) == (8, 0 if letter else 8)
    assert result.scores["pooled/accuracy"]["value"] == sum(row["label"] == letter for row, _ in rows(copy)) / 8


def rows(copy: Path) -> list:  # type: ignore[type-arg]
    return [entry for path in files(copy, None) for entry in load(path)]


def test_one_file_has_no_combined_accuracy(copy: Path, tmp_path: Path) -> None:
    result = evaluate("cv_bench", CVBench(str(copy / "test_3d.jsonl")), Scripted(lambda item: "A"), options(tmp_path))
    assert "combined/accuracy" not in result.scores
    assert result.remarks == ["there is no combined accuracy without questions of ADE20K, COCO"]


def test_parquet_holds_the_pictures(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a stand-in for pyarrow, which tests do not need; the release's file has the columns of the JSON-lines and `image`."""
    stored = [json.loads(line) for line in (copy / "test_2d.jsonl").read_text().splitlines()]
    table = [row | {"image": {"bytes": (copy / row["filename"]).read_bytes(), "path": None}} for row in stored]
    library = ModuleType("pyarrow.parquet")
    library.read_table = lambda path: SimpleNamespace(to_pylist=lambda: table)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", library)
    (tmp_path / "test_2d.parquet").touch()
    (tmp_path / "test_2d.jsonl").touch()  # the release has both, and its pictures in the one only
    (entry, *_), (plain, *_) = CVBench(str(tmp_path)).items(), CVBench(str(copy)).items()
    assert (entry.id, entry.question, entry.row) == (plain.id, plain.question, plain.row)
    assert (entry.media()[0].frames == plain.media()[0].frames).all()


def test_a_row_that_is_not_as_it_should_be_is_named(copy: Path, tmp_path: Path) -> None:
    stored = json.loads((copy / "test_2d.jsonl").read_text().splitlines()[0])
    for wrong, said in (({"answer": "(D)"}, r"row 1: expected an answer like \(A\) among 3 choices .* found '\(D\)'"),
                        ({"source": "LVIS"}, "and 'LVIS'"), ({"choices": []}, "among 0 choices")):
        (tmp_path / "test_2d.jsonl").write_text(json.dumps(stored | wrong))
        with pytest.raises(ValueError, match=said):
            load(tmp_path / "test_2d.jsonl")
    with pytest.raises(ValueError, match=r"has no test_2d\.jsonl"):
        files(tmp_path / "none", None)


def test_a_row_that_comes_twice_is_named(copy: Path, tmp_path: Path) -> None:
    """As where a folder holds a file and a copy of it."""
    for name in ("test_2d.jsonl", "test_2d_old.jsonl"):
        (tmp_path / name).write_bytes((copy / "test_2d.jsonl").read_bytes())
    with pytest.raises(ValueError, match="row 2D/20 comes 2 times"):
        CVBench(str(tmp_path)).items()


def test_the_command_line_asks(copy: Path, tmp_path: Path) -> None:
    toy(config={"max_position_embeddings": 512}).save(tmp_path / "model")
    assert main(["cv_bench", "--model", str(tmp_path), "--cv_bench.data", str(copy), "--cv_bench.max_new_tokens", "2", "--parser", "strict"]) == 0
    assert json.loads((tmp_path / "eval" / "cv_bench-strict.json").read_text())["n"] == 8
