"""MME on tiny copies in its official layouts and on the procedural world, with scripted models."""
import json
from pathlib import Path

import pytest

from eval.__main__ import evaluate, main
from eval.frame.pairs import load
from eval.mme import COGNITION, HALLUCINATION, MME, PERCEPTION
from tests import picture_layouts
from tests.clip_benchmarks import options
from tests.scripted import Scripted
from tests.vlms import toy

SPLIT = ("posters", "celebrity", "scene", "landmark", "artwork")  # tasks whose pictures the release has in a folder of their own


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_layouts.mme(tmp_path_factory.mktemp("mme"), (*PERCEPTION, *COGNITION), SPLIT)


def test_mme_sums_its_tasks(release: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "Yes" if item.split in COGNITION else item.row["label"].capitalize())
    result = evaluate("mme", MME(str(release)), model, options(tmp_path))
    value = {name: score["value"] for name, score in result.scores.items()}
    assert (result.n, result.unparsed, result.remarks) == (56, 0, [])
    assert (value["perception/score"], value["cognition/score"], value["hallucination/score"]) == (2000, 200, 800)
    assert (value["object/score"], value["attribute/score"]) == (400, 400)
    assert (value["code_reasoning/accuracy"], value["code_reasoning/accuracy_plus"], value["code_reasoning/score"]) == (0.5, 0, 50)
    assert result.scores["code_reasoning/score"]["n"] == 4


def test_the_export_is_a_folder_of_what_the_scorer_reads(release: Path, tmp_path: Path) -> None:
    evaluate("mme", MME(str(release)), Scripted(lambda item: "Yes,\tit\nis"), options(tmp_path))
    exported = tmp_path / "mme.official"
    assert {path.name for path in exported.iterdir()} == {f"{task}.txt" for task in (*PERCEPTION, *COGNITION)}
    lines = (exported / "OCR.txt").read_text().splitlines()
    assert lines[:2] == ["0001.png\tIs OCR 0001 so? Please answer yes or no.\tYes\tYes, it is",
                         "0001.png\tIs it not? Please answer yes or no.\tNo\tYes, it is"]


def test_both_layouts_ask_the_same_and_find_the_pictures(release: Path, tmp_path: Path) -> None:
    lists = picture_layouts.mme_lists(tmp_path / "lists", (*PERCEPTION, *COGNITION))
    first, second = MME(str(release)).items(), MME(str(lists), str(release)).items()
    assert [(item.id, item.question, item.row) for item in first] == [(item.id, item.question, item.row) for item in second]
    assert {item.media()[0].frames.shape for item in second} == {(1, 24, 32, 3)}
    assert {item.split for item in MME(str(release), part="hallucination").items()} == set(HALLUCINATION)


READ = {"official": ("yes and no", "Yes. " * 2000, "NO", "Nothing"), "lmms_eval": ("yes and no", "Yes. " * 2000, "NO", "Nothing"),
        "vlmevalkit": ("Yes. " * 2000, "NO"), "strict": ("NO",)}


@pytest.mark.parametrize("parser", READ)
@pytest.mark.parametrize("odd", ["", "It is hard to say.", "yes and no", "はい、そうです", "Yes. " * 2000, "NO", "Nothing"],
                         ids=lambda odd: repr(odd[:12]))
def test_odd_answers_are_counted(release: Path, tmp_path: Path, parser: str, odd: str) -> None:
    result = evaluate("mme", MME(str(release), part="hallucination"), Scripted(lambda item: odd), options(tmp_path, parser))
    assert (result.n, result.unparsed) == (16, 0 if odd in READ[parser] else 16)
    assert result.scores["count/score"]["value"] == (50 if odd in READ[parser] else 0)
    assert "perception is not summed: 4 of its 10 tasks were asked" in result.remarks


def test_files_that_hold_no_pairs_are_named(release: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no count, position, color"):
        load(picture_layouts.mme(tmp_path / "one", ("existence",)), tmp_path, HALLUCINATION)
    lists = picture_layouts.mme_lists(tmp_path / "lists", ("count",))
    file = lists / "count.txt"
    lines = file.read_text().splitlines()
    for wrong, said in ((lines[:3], "has 3 lines"), ([*lines[:1], lines[3], *lines[2:]], r"lines 1 and 2: expected one picture"),
                        ([line.replace("\tYes", "\tperhaps") for line in lines], "is 'perhaps', neither Yes nor No"),
                        ([line.replace("\t", " ") for line in lines], "expected 3 parts between tabs, found 1")):
        file.write_text("\n".join(wrong))
        with pytest.raises(ValueError, match=said):
            load(lists, release, ("count",))
    (tmp_path / "one" / "existence" / "0002.png").unlink()
    with pytest.raises(ValueError, match=r"0002\.txt: expected two questions about a picture 0002 .* found 2 and no picture"):
        load(tmp_path / "one", tmp_path, ("existence",))


def test_the_world_has_the_four_tasks_of_the_subset(tmp_path: Path) -> None:
    benchmark = MME(size=10)
    result = evaluate("mme", benchmark, Scripted(lambda item: item.row["label"]), options(tmp_path))
    assert (result.scores["hallucination/score"]["value"], result.unparsed) == (800, 0)
    yes = evaluate("mme", benchmark, Scripted(lambda item: "yes"), options(tmp_path / "yes"))
    assert [yes.scores[f"{task}/accuracy_plus"]["value"] for task in HALLUCINATION] == [0] * 4
    assert yes.scores["hallucination/score"]["value"] == 200
    with pytest.raises(ValueError, match=r"leave out --mme\.part full"):
        MME(part="full")


def test_half_a_pair_has_no_score() -> None:
    row = {"task": "count", "pair": "count/1", "picture": "a", "prediction": "yes", "correct": True}
    with pytest.raises(ValueError, match="of count/1 there are 1 answers"):
        MME().aggregate([row])


def test_the_command_line_asks_about_files_and_the_world(release: Path, tmp_path: Path) -> None:
    toy().save(tmp_path / "model")
    assert main(["mme", "--model", str(tmp_path), "--data", str(release), "--mme.part", "cognition", "--mme.max_new_tokens", "2"]) == 0
    assert json.loads((tmp_path / "eval" / "mme.json").read_text())["n"] == 16
    assert main(["mme", "mme:blind", "--model", str(tmp_path), "--mme.size", "4", "--mme.max_new_tokens", "2", "--out", str(tmp_path / "world")]) == 0
    assert (tmp_path / "world" / "mme-blind.official" / "existence.txt").is_file()
