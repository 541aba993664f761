"""The page of a comparison: one file that needs nothing else, with answers that cannot harm it, and where both runs looked."""
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eval.__main__ import main as evaluation
from eval.compare import wording
from eval.compare.__main__ import main
from eval.compare.choosing import chosen
from eval.compare.looking import parting, steered
from eval.compare.runs import read_runs
from eval.frame.benchmark import Item
from tests.answering import saved
from tests.comparisons import chair, filed, named, pope, right_but
from tests.vlms import toy

HOSTILE = "no <script>alert('x')</script><img src=x onerror=alert(1)> \"' & {{ 7 * 7 }}"


class Tags(HTMLParser):
    """Elements and attributes of a page, as a browser reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def hostile(item: Item) -> str:
    return HOSTILE if item.id.endswith("/1") else right_but(0.3, 1)(item)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("page")
    filed(home / "a", "pope", "pope", pope(), right_but(0.3, 0), p_yes=lambda item: 0.7)
    filed(home / "b", "pope-<i>lever", "pope", pope(), hostile, p_yes=lambda item: 0.6)
    filed(home / "a", "chair", "chair", chair(), lambda item: named(item.row["objects"]))
    filed(home / "b", "chair-<i>lever", "chair", chair(), lambda item: named([*item.row["objects"], "moon"]) + HOSTILE * 40)
    assert main([str(home / "a"), str(home / "b"), "--out", str(home / "out"), "--draws", "200", "--items", "40", "--overlays", "2"]) == 0
    return (home / "out" / "compare.html").read_text(encoding="utf-8")


def test_answers_stay_text(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert [tag for tag, _ in tags.found].count("script") == 1
    assert "i" not in {tag for tag, _ in tags.found}
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
    assert "alert(&#x27;x&#x27;)" in page
    assert "{{ 7 * 7 }}" in page  # the script of an answer is no template


def test_the_page_needs_nothing_else(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_is_well_formed(page: str) -> None:
    body = page.partition("<script>")[0]
    for tag in ("div", "section", "article", "table", "tr", "p", "svg", "dl", "span", "details", "figure", "form", "label"):
        assert len(re.findall(rf"<{tag}[\s>]", body)) == body.count(f"</{tag}>"), tag


def test_the_page_shows_every_part(page: str) -> None:
    for part in ("What is certain", "CHAIR_s", "same length", "length, words", "yes-ratio, random", "Holm p", "McNemar p", "Recall and hallucination",
                 "forwards a token", "AUC, adversarial", "calibration error", "How this was made", "unparsed", "data:image/jpeg", "truth <b>",
                 "P(yes) 0.70", "<mark>moon</mark>", "more characters", "python -m eval compare", "↖ better"):
        assert part in page, part


def test_answers_can_be_chosen_by_what_became_of_them(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    items = [attributes for tag, attributes in tags.found if tag == "article"]
    assert len(items) == 32  # all captions, and twenty of the other answers
    statuses = {status for attributes in items for status in str(attributes["data-status1"]).split()}
    assert {"changed", "lost", "gained", "right"} <= statuses <= {"changed", "lost", "gained", "wrong", "right", "unparsed"}
    offered = {attributes.get("value") for tag, attributes in tags.found if tag == "option"}
    assert {"changed", "lost", "gained", "wrong", "unparsed"} <= offered
    assert {attributes["data-split"] for attributes in items} == {"", "random", "popular", "adversarial"}


def test_why_there_are_no_maps_is_said(page: str) -> None:
    assert page.count("no maps of where") == 2
    assert "name it with --models" in page


def test_all_that_changed_is_shown_up_to_the_limit_and_a_sample_of_the_rest(tmp_path: Path) -> None:
    paths = [filed(tmp_path, f"pope{i}", "pope", pope(40), right_but(0.2, i)) for i in range(2)]
    runs, _ = read_runs(list(map(str, paths)))
    (some,), (again,), (more,) = (chosen(runs, limit, seed) for limit, seed in ((20, 0), (20, 0), (1000, 0)))
    assert some == again
    assert some != chosen(runs, 20, 1)[0]
    assert (len(some.items), some.changed[1], some.same[1]) == (20, 15, 5)
    assert sum(some.changed[:1] + some.same[:1]) == 240
    assert (more.changed[0], more.same[0]) == (more.changed[1], more.same[1])
    assert [item.rank for item in more.items] == sorted(item.rank for item in more.items)


def test_unparsed_answers_are_among_those_shown(tmp_path: Path) -> None:
    paths = [filed(tmp_path, f"pope{i}", "pope", pope(40), lambda item: "?" if item.id == "popular/99" else item.row["label"], "strict")
             for i in range(2)]
    runs, _ = read_runs(list(map(str, paths)))
    (found,) = chosen(runs, 8)
    assert [item.id for item in found.items if "unparsed" in item.statuses(1)] == ["popular/99"]
    assert (len(found.items), found.changed, found.same) == (8, (0, 0), (240, 8))


def test_maps_are_of_where_answers_part() -> None:
    assert parting([["a", "red", "star"], ["a", "red", "ring"]]) == 2
    assert parting([["yes", ""], ["no", ""], ["yes", ""]]) == 0
    assert parting([["yes", ""], ["yes", ""]]) == 0


def test_both_runs_are_read_again_under_their_levers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(tmp_path / "toy")
    lever = tmp_path / "first.yaml"
    lever.write_text("mask: mm.masks.Causal\nreweight:\n  - class_path: mm.reweight.ZeroTuning\n    init_args: {gamma: 40.0}\n")
    asked = ["pope", "chair", "--model", str(run), "--limit", "3", "--pope.size", "6", "--chair.size", "6", "--chair.max_new_tokens", "6"]
    assert evaluation(asked) == 0
    assert evaluation([*asked, "--lever", str(lever)]) == 0
    out = tmp_path / "out"
    assert main([str(run), f"{run}:first", "--out", str(out), "--draws", "100", "--overlays", "4"]) == 0
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "no maps" not in page
    assert page.count("<article") == page.count("data-benchmark")
    drawn = re.findall(r'<figure><img src="(data:[^"]+)" alt="where ([AB]) looked"', page)
    assert [letter for _, letter in drawn] == ["A", "B"] * 4
    assert all(drawn[i][0] != drawn[i + 1][0] for i in range(0, 8, 2))
    masses = [int(text) for text in re.findall(r"(\d+)% of attention on the picture", page)]
    assert all(before > after for before, after in zip(masses[::2], masses[1::2], strict=True))  # more weight on the first token


def test_a_lever_that_is_not_of_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="has contrast, which maps of attention do not show"), steered(toy(), {"file": "x", "contrast": {}}):
        pass


@pytest.mark.parametrize(("value", "unit", "text"), [(0.0123, "share", "+1.2"), (-0.0001, "share", "0.0"), (-0.2, "number", "−0.20"),
                                                     (None, "share", "–"), (0.0, "number", "0.00")])
def test_a_difference_has_a_sign_where_it_is_one(value: float | None, unit: str, text: str) -> None:
    assert wording.change(value, unit) == text


def test_metrics_have_names_for_readers() -> None:
    assert [wording.label(name) for name in ("random/f1", "same_length/chair_i", "score", "Action Count/accuracy")] == [
        "F1, random", "CHAIR_i, same length", "score", "accuracy, Action Count"]
