"""Readers of multiple choice against the scorers they are named after."""
from pathlib import Path
from typing import Any

import pytest

from eval.frame.choices import letter_of
from eval.frame.tasks import truth
from eval.mlvu import official as mlvu
from eval.mvbench import PROMPTS
from eval.mvbench import official as mvbench
from eval.parsers import chooser
from eval.videomme import official as videomme
from tests.golden import load

CASES: list[dict[str, Any]] = load("evaluation", "harness_parsing").mcq
CCAM: list[dict[str, Any]] = load("projectors", "video_sampling").check_answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["answer"]))
def test_reads_a_choice_as_the_harness_does(case: dict[str, Any]) -> None:
    answer = case["answer"]
    assert {letter: int(letter in chooser("lmms_eval")(answer, "ABCD")) for letter in "ABCD"} == case["mvbench"]
    assert chooser("lmms_eval", "choice_ranked")(answer, "ABCD") == case["mcq_extract_ABCD"]
    assert videomme(answer, "ABCD") == case["video_mme_official"]
    assert {letter: letter in mlvu(answer, "ABCD") for letter in "ABCD"} == case["mlvu_official"]


@pytest.mark.parametrize("case", CCAM, ids=lambda case: repr(case["predict"]))
def test_video_ccam_compat_says_right_where_its_check_does(case: dict[str, Any]) -> None:
    label = case["answer"][1]
    assert (label in chooser("video_ccam")(case["predict"], "ABCD")) == case["correct"]


def test_video_ccam_compat_asks_as_its_template_does() -> None:
    (case,) = load("projectors", "video_sampling").qa
    question, answer = case["out"]
    assert PROMPTS["video_ccam"].ask(case["data"]).startswith(question + "\n")
    label = letter_of(case["data"]["answer"], case["data"]["candidates"], "")
    assert truth({"label": label, "candidates": case["data"]["candidates"]}) == answer


@pytest.mark.parametrize(("text", "official", "ccam", "strict"), [
    ("(", "ABCD", "ABCD", ""),  # passes for every option
    ("", "ABCD", "", ""),  # likewise, in MVBench's own reader
    ("A dog runs", "A", "A", ""),  # a word, not a letter
    ("a dog runs", "A", "A", ""),
    ("walking", "", "", ""),
    ("(B) running", "B", "B", "B"),
    ("B. running", "B", "B", "B"),
    ("B\n", "", "B", "B"),  # words part at blanks only
    ("The answer is (B)", "", "B", ""),
    ("(E) flying", "", "", "")])
def test_traps_of_the_compared_first_word(text: str, official: str, ccam: str, strict: str) -> None:
    assert (mvbench(text, "ABCD"), chooser("video_ccam")(text, "ABCD"), chooser("strict")(text, "ABCD")) == (official, ccam, strict)


@pytest.mark.parametrize(("text", "letter"), [
    ("C", "C"), (" (C) ", "C"), ("C) the left one", "C"), ("C: up", "C"), ("C.\nBecause", "C"), ("C\nBecause", "C"), ("C and D", ""), ("c", ""),
    ("Cat", ""), ("C.A. left", ""), ("(C)at", ""), ("I think it is (C).", ""), ("F", "")])
def test_the_strict_reader_takes_a_marked_letter_in_front_only(text: str, letter: str) -> None:
    assert chooser("strict")(text, "ABCD") == letter


def documented() -> list[list[str]]:
    """Cells of the table of readers in docs/video-benchmarks.md."""
    text = (Path(__file__).parents[2] / "docs" / "video-benchmarks.md").read_text().split("## Readers")[1].split("## Traps")[0]
    rows = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


@pytest.mark.parametrize("row", documented(), ids=lambda row: row[0])
def test_the_page_tells_the_truth_about_readers(row: list[str]) -> None:
    text = "" if row[0] == "nothing" else row[0].strip("`")
    found = [mvbench, videomme, mlvu, chooser("lmms_eval"), chooser("lmms_eval", "choice_ranked"), chooser("video_ccam"), chooser("strict")]
    said = {"–": "", "not counted": "", "every option": "ABCD"}
    assert [reader(text, "ABCD") for reader in found] == [said.get(cell, cell) for cell in row[1:]]
