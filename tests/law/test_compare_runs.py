"""python -m eval compare: what is compared, what is refused, and what is said about it."""
import json
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import main as evaluation
from eval.compare.__main__ import main
from eval.compare.answers import is_parsed
from eval.compare.comparing import against
from eval.compare.runs import read_runs
from eval.compare.same import paired
from eval.frame.benchmark import Benchmark, Row
from eval.pope import POPE
from tests.comparisons import chair, filed, named, pope, relabelled, right_but

FEW = ["--draws", "1000", "--items", "12"]
VAR = {"file": "var.yaml", "reweight": [{"class_path": "mm.reweight.VAR"}]}


def found(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "compare.json").read_text(encoding="utf-8")))


def of(result: dict[str, Any], benchmark: str, metric: str, run: int = 1) -> dict[str, Any]:
    name = result["runs"][run]["name"]
    return next(each for each in result["comparisons"] if (each["benchmark"], each["metric"], each["run"]) == (benchmark, metric, name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with results without a lever and under two."""
    home = tmp_path_factory.mktemp("run") / "demo"
    for stem, lever, rate, more in (("", None, 0.3, ["moon"]), ("-var", VAR, 0.0, []), ("-pai", VAR, 0.3, ["moon", "ring"])):
        filed(home / "eval", f"pope{stem}", "pope", pope(), right_but(rate, len(stem)), p_yes=lambda item: 0.9 if item.row["label"] == "yes" else 0.2,
              lever=lever)
        filed(home / "eval", f"chair{stem}", "chair", chair(), lambda item, more=more: named([*item.row["objects"], *more]), lever=lever)
    filed(home / "eval", "pope-blind", "pope", pope(), right_but(0.5, 9), settings={"view": "blind"})
    return home


def test_a_run_is_compared_with_itself_under_a_lever(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluation(["compare", str(folder), f"{folder}:var", "--out", str(tmp_path), "--draws", "5000", "--items", "12"]) == 0
    said, result = capsys.readouterr().out, found(tmp_path)
    assert list(result["runs"][1]["results"]) == ["chair", "pope"]
    assert result["runs"][1]["results"]["pope"]["lever"] == VAR
    assert "left out, as not every run has it: pope-blind" in result["remarks"]
    accuracy = of(result, "pope", "random/accuracy")
    assert accuracy["difference"]["second"]["value"] == 1
    assert accuracy["difference"]["value"] == pytest.approx(1 - accuracy["difference"]["first"]["value"])
    assert accuracy["mcnemar"] == 2 / 2 ** result["flips"][1]["gained"]
    assert of(result, "pope", "random/auc")["difference"]["value"] == 0
    assert {each["verdict"] for each in result["comparisons"] if each["benchmark"] == "pope" and each["is_primary"]} <= {"better", "not certain"}
    for metric in ("chair_s", "chair_i", "recall", "f1", "length", "same_length/chair_s", "same_length/recall"):
        assert of(result, "chair", metric)["n"] == 12
        assert metric in said
    assert of(result, "chair", "chair_s")["verdict"] == "better"
    assert of(result, "chair", "same_length/chair_s")["difference"]["value"] == 0  # the moon came last
    assert "n 72 against 72, unparsed 0 against 0, parser official" in said
    assert "tokens/s –" in said
    primary = [each for each in result["comparisons"] if each["is_primary"]]
    assert len(primary) == result["family"]["tests"] == 3 + 8
    assert all(each["p_holm"] >= each["difference"]["p"] for each in primary)
    assert {"torch", "numpy"} <= result["versions"].keys()
    assert result["draws"] == 5000


def test_three_runs_are_one_family(folder: Path, tmp_path: Path) -> None:
    assert main([str(folder), f"{folder}:var", f"{folder}:pai", "--names", "plain", "VAR", "PAI", "--out", str(tmp_path), *FEW]) == 0
    result = found(tmp_path)
    assert [run["name"] for run in result["runs"]] == ["plain", "VAR", "PAI"]
    assert result["family"]["tests"] == 2 * (3 + 8)
    assert of(result, "chair", "chair_i", 1)["difference"]["value"] < 0 < of(result, "chair", "chair_i", 2)["difference"]["value"]
    assert of(result, "chair", "chair_i", 1)["difference"]["first"] == of(result, "chair", "chair_i", 2)["difference"]["first"]


def test_the_same_run_differs_by_nothing(folder: Path, tmp_path: Path) -> None:
    file = str(folder / "eval" / "pope.json")
    assert main([file, file, "--out", str(tmp_path), *FEW]) == 0
    result = found(tmp_path)
    assert len({run["name"] for run in result["runs"]}) == 2
    for each in result["comparisons"]:
        assert [each["difference"][key] for key in ("value", "low", "high", "p")] == [0, 0, 0, 1], each["metric"]
        assert each["verdict"] in ("", "not certain")


def test_a_view_is_compared_where_files_are_named_and_said_to_differ(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(folder / "eval" / name) for name in ("pope.json", "pope-blind.json")]
    assert main([*files, "--out", str(tmp_path), *FEW]) == 0
    assert 'view: "full" -> "blind"' in capsys.readouterr().out.partition("NOT ONLY THE METHOD DIFFERS")[2]


def test_another_prompt_and_another_decoding_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = filed(tmp_path, "pope", "pope", pope(), right_but(0.1, 0))
    other = filed(tmp_path, "pope-x", "pope", POPE(size=12, k=1, suffix=" Answer with one word."), right_but(0.1, 0),
                  settings={"decoding": {"greedy": False, "num_beams": 5, "max_new_tokens": 8}, "batch_size": 2})
    assert main([str(one), str(other), "--out", str(tmp_path / "out"), *FEW]) == 0
    said = capsys.readouterr().out
    assert 'suffix: "" -> " Answer with one word."' in said
    assert "decoding.num_beams: 1 -> 5" in said
    assert "batch_size" not in said
    assert [each["what"] for each in found(tmp_path / "out")["differs"][0]["harmless"]] == ["batch_size"]
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "Not only the method differs" in page
    assert "decoding.num_beams" in page


def other_question(rows: list[Row]) -> list[Row]:
    return [{**rows[0], "text": "is there a cat ?"}, *rows[1:]]


@pytest.mark.parametrize(("change", "reason"), [
    (lambda rows: rows[1:], "answered different items (72 and 71; e.g. random/0)"), (lambda rows: rows[::-1], "in another order"),
    (relabelled, "its label is 'yes'"), (other_question, "its text is"), (lambda rows: [{**rows[0], "picture": "p"}, *rows[1:]], "its picture is"),
], ids=["fewer", "order", "label", "question", "picture"])
def test_other_items_do_not_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, reason: str) -> None:
    one = filed(tmp_path, "pope", "pope", pope(), right_but(0.1, 0))
    other = filed(tmp_path, "pope-x", "pope", pope(), right_but(0.1, 0), change=change)
    assert main([str(one), str(other), "--out", str(tmp_path / "out"), *FEW]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_another_parser_does_not_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = filed(tmp_path / "a", "pope", "pope", pope(), right_but(0.1, 0))
    other = filed(tmp_path / "b", "pope-strict", "pope", pope(), right_but(0.1, 0), parser="strict")
    for given in ([str(one), str(other)], [str(tmp_path / "a"), str(tmp_path / "b")]):
        assert main([*given, "--out", str(tmp_path / "out"), *FEW]) == 2
        assert "are read by the parser official" in capsys.readouterr().err


def test_answers_have_to_lie_beside_their_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (filed(tmp_path, stem, "pope", pope(), right_but(0.1, 0)) for stem in ("pope", "pope-x"))
    rows = other.with_suffix(".rows.jsonl")
    lines = rows.read_text(encoding="utf-8")
    for content, reason in ((lines + '{"id": ', "line 73 is damaged"), ('{"id": 1}\n', "expected an object with id, picture and answer"),
                            ("", "holds no answers"), (None, "pope-x.rows.jsonl is missing")):
        rows.unlink()
        if content is not None:
            rows.write_text(content, encoding="utf-8")
        assert main([str(one), str(other), *FEW, "--out", str(tmp_path / "out")]) == 2
        assert reason in capsys.readouterr().err
        rows.touch()


@pytest.mark.parametrize(("given", "reason"), [
    (["{demo}"], "name two runs or more"), (["{demo}", "gone"], "there is no result file and no folder gone"),
    (["{demo}", "{demo}:vcd"], "holds results without a lever, pai, var; choose some as"), (["{demo}", "{empty}"], "holds no result file"),
    (["{demo}/eval/pope.json", "{demo}/eval/chair.json"], "share no benchmark"),
    (["{demo}", "{demo}:var", "--names", "a"], "1 names are given for 2 runs"),
], ids=["one", "gone", "lever", "empty", "nothing-shared", "names"])
def test_what_cannot_be_compared_is_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], reason: str,
) -> None:
    paths = [text.format(demo=folder, empty=tmp_path) for text in given]
    assert main([*paths, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_file_of_the_folder_that_is_no_result_is_named(folder: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        filed(tmp_path / place, "pope", "pope", pope(), right_but(0.1, 0))
    (tmp_path / "a" / "notes.json").write_text("{}")
    _, remarks = read_runs([str(tmp_path / "a"), str(tmp_path / "b")])
    assert [remark for remark in remarks if "notes.json is not a result file" in remark] == remarks


ODD = ("", " \n", "Yes and no, it depends on what one calls a star", "はい、星があります", "nein", "no " * 3334, "\x00<b>", "yes\u2028no")


@pytest.mark.parametrize("parser", ["official", "strict"])
def test_odd_answers_are_counted_as_unparsed(tmp_path: Path, capsys: pytest.CaptureFixture[str], parser: str) -> None:
    one = filed(tmp_path, "pope", "pope", pope(), right_but(0.0, 0), parser)
    order = [item.id for item in pope().items()]
    other = filed(tmp_path, "pope-x", "pope", pope(), lambda item: ODD[order.index(item.id) % len(ODD)], parser)
    assert main([str(one), str(other), "--out", str(tmp_path / "out"), *FEW]) == 0
    odd = found(tmp_path / "out")["runs"][1]["results"]["pope"]["unparsed"]
    assert odd > 10
    assert f"n 72 against 72, unparsed {odd} against 0, parser {parser}" in capsys.readouterr().out


def test_odd_captions_are_cut_and_counted(tmp_path: Path) -> None:
    one = filed(tmp_path, "chair", "chair", chair(8), lambda item: named(item.row["objects"]))
    order = [item.id for item in chair(8).items()]
    other = filed(tmp_path, "chair-x", "chair", chair(8), lambda item: ODD[order.index(item.id)])
    assert main([str(one), str(other), "--out", str(tmp_path / "out"), *FEW]) == 0
    result = found(tmp_path / "out")
    assert result["runs"][1]["results"]["chair"]["unparsed"] == 7  # one of them names a star
    assert of(result, "chair", "recall")["difference"]["value"] < -0.9
    assert result["same_length"][0]["cut_first"] >= 6


def test_parsed_is_what_a_row_says() -> None:
    assert [is_parsed(row) for row in ({"matched": False}, {"prediction": None}, {"generated": []}, {"generated": ["star"]}, {})] == [
        False, False, False, True, True]


def test_a_result_that_states_other_numbers_is_named(tmp_path: Path) -> None:
    paths = [filed(tmp_path, stem, "pope", pope(), right_but(0.1, 0)) for stem in ("pope", "pope-x")]
    content = json.loads(paths[1].read_text(encoding="utf-8"))
    content["scores"]["random/accuracy"]["value"] = 0.123
    paths[1].write_text(json.dumps(content))
    runs, _ = read_runs(list(map(str, paths)))
    remarks = against("pope", runs[0].results["pope"], runs[1].results["pope"], "b", 200).remarks
    assert len(remarks) == 1
    assert "pope-x.json says otherwise than its answers scored again here (random/accuracy)" in remarks[0]


class Consulting(POPE):
    """Asks somebody whose replies differ from run to run."""

    def consult(self, rows: Any, folder: Path) -> list[Row]:
        return [{**row, "reply": "unlike any other"} for row in rows]


@pytest.mark.parametrize("benchmark", [POPE(), Consulting()], ids=["plain", "consulting"])
def test_replies_of_another_model_do_not_make_items_differ(tmp_path: Path, benchmark: Benchmark) -> None:
    paths = [filed(tmp_path, stem, "pope", pope(), right_but(0.1, 0), change=lambda rows, stem=stem: [{**row, "reply": stem} for row in rows])
             for stem in ("pope", "pope-x")]
    runs, _ = read_runs(list(map(str, paths)))
    one, other = (run.results["pope"] for run in runs)
    if isinstance(benchmark, Consulting):
        assert [row["id"] for row in paired(benchmark, "pope", one, other)] == [row["id"] for row in one.rows]
    else:
        with pytest.raises(ValueError, match="its reply is 'pope'"):
            paired(benchmark, "pope", one, other)
