"""AMBER against its released script, on made-up descriptions, annotations and similarities."""
from typing import Any

import pytest

from eval.amber import ASKED, official, parse, score
from eval.frame.annotated import DIMENSIONS
from eval.text.associations import Associations
from tests.golden import load

GOLDEN: Any = load("evaluation", "amber")
SIMILARITY = {(first, second): value for first, second, value in GOLDEN.similarity}
RESPONSES = {entry["id"]: entry["response"] for entry in GOLDEN.responses}
DESCRIPTIONS = {entry["id"]: entry for entry in GOLDEN.per_generative}
ASSOCIATIONS = Associations(GOLDEN.relation, frozenset(GOLDEN.safe_words))


def row(annotation: dict[str, Any]) -> dict[str, Any]:
    number, truth = annotation["id"], annotation["truth"]
    judged: dict[str, Any]
    if annotation["type"] == "generative":
        judged = ASSOCIATIONS.judge(DESCRIPTIONS[number]["nouns"], truth, annotation["hallu"],
                                    lambda first, second: SIMILARITY[first, second] > GOLDEN.similarity_threshold)._asdict()
    else:
        prediction = parse(RESPONSES[number])
        judged = {"prediction": prediction, "correct": prediction == truth}
    return {"number": number, "image": str(number), "dimension": DIMENSIONS[annotation["type"]], "truth": truth, **judged}


ROWS = [row(annotation) for annotation in GOLDEN.annotations]


@pytest.mark.parametrize("place", range(len(DESCRIPTIONS)))
def test_mentions_of_a_description_are_judged_as_by_the_script(place: int) -> None:
    found, wanted = ROWS[place], DESCRIPTIONS[ROWS[place]["number"]]
    assert [found[key] for key in ("kept", "flags", "covered", "invented")] == [wanted[key] for key in ("kept", "flags", "safe", "ha")]


@pytest.mark.parametrize("evaluation", GOLDEN.printed)
def test_figures_are_those_that_the_script_prints(evaluation: Any) -> None:
    assert official(ROWS, evaluation) == GOLDEN.printed[evaluation]
    asked = [row for row in ROWS if row["dimension"] in ASKED[evaluation]]
    assert official(asked, evaluation) == GOLDEN.printed[evaluation]


def test_scores_are_the_printed_figures_but_for_thousandths_and_rounding() -> None:
    scores, printed = score(ROWS).scores, GOLDEN.printed["a"]
    for name, metrics in (("discriminative", "Descriminative"), ("existence", "Exsitence"), ("attribute", "Attribute"), ("relation", "Relation")):
        for metric, value in printed[metrics].items():
            assert 100 * scores[f"{name}/{metric.lower()}"].value == pytest.approx(value, abs=0.1)
    assert {name: 100 * scores[name.lower()].value for name in printed["Generative"]} == pytest.approx(printed["Generative"], abs=0.06)
    assert scores["amber"].value == (1 - scores["chair"].value + scores["discriminative/f1"].value) / 2
    assert "CHAIR 45.2, Cover 30.0, Hal 66.7, Cog 13.9, Accuracy 65.0, Precision 80.0, Recall 69.6, F1 74.4" in score(ROWS).remarks[-1]
