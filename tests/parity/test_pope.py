"""POPE against the official script: reader, metrics, question builder."""
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eval.pope import SPLITS, Objects, build, count, load, metrics, neighbours, official, parse, score

GOLDEN = Path(__file__).parents[1] / "golden" / "evaluation"
POPE: dict[str, Any] = json.loads((GOLDEN / "pope.json").read_text())
SCENES: dict[str, Any] = json.loads((GOLDEN / "scenes.json").read_text())


@pytest.mark.parametrize(("answer", "yes"), POPE["per_answer"])
def test_reads_an_answer_as_the_official_script_does(answer: str, yes: int) -> None:
    assert official(answer) == parse(answer) == ("yes" if yes else "no")


@pytest.mark.parametrize("case", [*POPE["sets"], POPE["truncated"]], ids=lambda case: f"n{len(case['answers'])}")
def test_metrics_equal_the_official_ones(case: dict[str, Any]) -> None:
    predictions = [official(answer) for answer in case["answers"]]
    wanted = case["metrics"]
    c, got = count(predictions, case["labels"]), metrics(predictions, case["labels"])
    assert (c.tp, c.fp, c.tn, c.fn) == (wanted["TP"], wanted["FP"], wanted["TN"], wanted["FN"])
    assert [int(p == "yes") for p in predictions] == case.get("pred", [int(p == "yes") for p in predictions])
    for ours, theirs in (("accuracy", "acc"), ("precision", "precision"), ("recall", "recall"), ("f1", "f1"), ("yes_ratio", "yes_ratio")):
        assert got[ours] == pytest.approx(wanted[theirs], abs=1e-12)


def test_where_the_official_script_divides_by_zero_the_metric_is_undefined_and_said_so() -> None:
    assert set(POPE["error_cases"]) == {"all_pred_no", "all_labels_no"}
    for predictions, labels, undefined in ((["no", "no"], ["yes", "no"], "precision"), (["yes", "no"], ["no", "no"], "recall")):
        assert math.isnan(metrics(predictions, labels)[undefined])
        assert math.isnan(metrics(predictions, labels)["f1"])
        rows = [{"split": "random", "image": str(i), "label": label, "prediction": prediction, "matched": True}
                for i, (prediction, label) in enumerate(zip(predictions, labels, strict=True))]
        scored = score(rows)
        assert math.isnan(scored.scores["random/f1"].value)
        assert any("random/f1" in remark for remark in scored.remarks)


@pytest.mark.parametrize("split", SPLITS)
def test_builder_asks_the_official_questions(split: str) -> None:
    golden = POPE["builder"]
    pictures = [Objects(entry["image"], tuple(entry["objects"])) for entry in golden["images"]]
    rows = build(pictures, split, 3, random.Random(golden["python_random_seed"]), golden["template"])
    # The released builder turns every letter a of the template into "an" before a vowel; its released files do not have that.
    literal = [{**row, "text": row["text"].replace("image", "imange") if row["text"].startswith("Is there an ") else row["text"]} for row in rows]
    assert literal == golden["questions"][split]


def test_popularity_and_neighbours_are_ranked_as_in_the_official_builder() -> None:
    golden = POPE["builder"]
    pictures = [Objects(entry["image"], tuple(entry["objects"])) for entry in golden["images"]]
    assert dict(Counter(name for picture in pictures for name in picture.names)) == golden["ground_truth_freq"]
    assert neighbours(pictures) == golden["co_occur_ranked"]


@pytest.mark.parametrize("split", ["popular", "adversarial"])
def test_builder_equals_the_recorded_rows_on_scenes(split: str) -> None:
    pictures = [Objects(str(i), tuple(scene["present"])) for i, scene in enumerate(SCENES["scenes"])]
    rows = build(pictures, split, 2, random.Random(0), "is there a {} in the image ?")
    assert [[int(row["image"]), row["text"], row["label"] == "yes"] for row in rows] == SCENES["pope"][split]


def test_reads_json_lines_arrays_and_the_second_version(tmp_path: Path) -> None:
    row = {"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"}
    (tmp_path / "coco_pope_random.json").write_text("".join(json.dumps(row) + "\n" for _ in range(2)))
    (tmp_path / "coco_pope_adversarial.json").write_text(json.dumps([row] * 3))
    (tmp_path / "gqa_pope_seem_popular.json").write_text(json.dumps([{**row, "label": "no"}]))
    found = load(tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {"coco/random": 2, "coco/adversarial": 3, "gqa/popular": 1}
    second = tmp_path / "v2.json"
    text = "Is there a cat in the image?"
    second.write_text(json.dumps([{"image_id": 7, "image_name": "/images/b.jpg", "target_object": "cat", "query": text, "label": "No"}]))
    assert load(second) == {"v2": [{"question_id": 1, "image": "images/b.jpg", "text": text, "label": "no"}]}


def test_means_are_over_the_splits_of_one_source() -> None:
    rows = [{"split": f"{source}/{split}", "image": str(i), "label": "yes", "prediction": "yes" if i < right else "no", "matched": True}
            for source, right in (("coco", 4), ("gqa", 2)) for split in SPLITS for i in range(4)]
    scores = score(rows).scores
    assert {name: value.value for name, value in scores.items() if "mean/accuracy" in name} == {"coco/mean/accuracy": 1.0, "gqa/mean/accuracy": 0.5}
    older = [{**rows[0], "split": "coco/random"}] * 2910
    assert any("older file" in remark for remark in score(older).remarks)


def test_a_malformed_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "coco_pope_random.json"
    file.write_text('{"question_id": 1, "image": "a.jpg", "text": "?", "label": "yes"}\n{"question_id": 2, \n')
    with pytest.raises(ValueError, match="line 2: malformed JSON"):
        load(file)
    file.write_text('{"question_id": 1, "image": "a.jpg", "text": "?", "label": "perhaps"}\n')
    with pytest.raises(ValueError, match="row 1: label 'perhaps'"):
        load(file)
