"""CHAIR against the original code and its OPERA variant. The synonym table here is a small one of our own that covers the recorded captions."""
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.chair import image_ids, score
from eval.frame.captions import caption_row, coco_annotations, ground_truth
from eval.text.objects import COCO_DOUBLES, Mentions, ObjectWords, singular_words
from eval.text.singular import singular
from eval.text.synonyms import Synonyms
from eval.text.words import words

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "evaluation" / "chair.json").read_text())
LISTS = ("words", "generated", "hallucinated", "gt")
TABLE = """airplane, plane
bicycle, bike
bird, goose
cake,  cheesecake, pancake
cat, kitten
chair, seat
couch, sofa
cow, calf, ox
dining table, desk, table
laptop, computer, laptop computer
motorcycle,  motor bike, motor cycle
oven, stove, stove top oven
person, boy, child, driver, man, passenger, people, pitcher, player, woman
refrigerator, fridge
skis, ski
sports ball, ball
tie, bow, bow tie
traffic light, street light, traffic signal
tv, television
"""
ALONE = """apple, backpack, baseball bat, bed, bench, book, bottle, bowl, broccoli, bus, car, carrot, cell phone, cup, dog, elephant, fire hydrant,
fork, frisbee, giraffe, hair drier, handbag, horse, hot dog, keyboard, kite, knife, microwave, mouse, orange, parking meter,
potted plant, remote, sheep, sink, skateboard, spoon, stop sign, suitcase, surfboard, teddy bear, tennis racket, toaster, toilet, train,
truck, umbrella, vase, wine glass"""  # names without synonyms


@pytest.fixture
def synonyms(tmp_path: Path) -> Synonyms:
    (tmp_path / "synonyms.txt").write_text(TABLE + "\n".join(ALONE.replace("\n", " ").split(", ")))
    return Synonyms.read(tmp_path / "synonyms.txt")


def recorded_lemmas(synonyms: Synonyms) -> Callable[[int, str], Mentions]:
    return lambda index, caption: ObjectWords(synonyms, words, COCO_DOUBLES).of_words(GOLDEN["stages"][index]["lemmas"])


def rows_of(mentions: Callable[[int, str], Mentions]) -> list[dict[str, Any]]:
    return [caption_row(entry["image_id"], mentions(i, entry["caption"]), set(GOLDEN["gt_objects"][str(entry["image_id"])]))
            for i, entry in enumerate(GOLDEN["images"])]


@pytest.mark.parametrize(("word", "base"), GOLDEN["singularize"])
def test_singular_equals_the_original_singulariser(word: str, base: str) -> None:
    assert singular(word) == base


def test_words_equal_the_original_tokens() -> None:
    assert [words(entry["caption"]) for entry in GOLDEN["images"]] == [stage["tokens"] for stage in GOLDEN["stages"]]


def test_stages_after_the_lemmas_equal_operas(synonyms: Synonyms) -> None:
    for i, stage in enumerate(GOLDEN["stages"]):
        found = recorded_lemmas(synonyms)(i, "")
        assert [list(found.words), list(found.objects), list(found.nodes)] == [stage["merged"], stage["object_words"], stage["nodes"]]


def test_captions_and_totals_equal_operas(synonyms: Synonyms) -> None:
    rows = rows_of(recorded_lemmas(synonyms))
    for row, wanted in zip(rows, GOLDEN["opera"]["sentences"], strict=True):
        assert [row[key] for key in LISTS] == [wanted[key] for key in LISTS]
        recorded = [wanted["metrics"][key] for key in ("CHAIRs", "CHAIRi", "Recall")]
        assert [row[key] for key in ("chair_s", "chair_i", "recall")] == pytest.approx(recorded)
    scores, overall = score(rows).scores, GOLDEN["opera"]["overall"]
    for ours, theirs in (("chair_s", "CHAIRs"), ("chair_i", "CHAIRi"), ("recall", "Recall")):
        assert scores[ours].value == pytest.approx(overall[theirs], abs=1e-12)
    assert scores["length"].value / 100 == pytest.approx(overall["Len"], abs=1e-12)


def test_captions_and_totals_equal_the_originals_without_a_language_library(synonyms: Synonyms) -> None:
    object_words = ObjectWords(synonyms, singular_words, COCO_DOUBLES)
    rows = rows_of(lambda _, caption: object_words(caption))
    for row, wanted in zip(rows, GOLDEN["original"]["sentences"], strict=True):
        assert [row[key] for key in LISTS] == [wanted[key] for key in LISTS]
        assert row["chair_i"] == pytest.approx(wanted["CHAIRi"], abs=1e-12)
    scores = score(rows).scores
    assert scores["chair_s"].value == pytest.approx(GOLDEN["original"]["CHAIRs"], abs=1e-12)
    assert scores["chair_i"].value == pytest.approx(GOLDEN["original"]["CHAIRi"], abs=1e-12)


def test_ground_truth_is_categories_and_what_reference_captions_name(synonyms: Synonyms, tmp_path: Path) -> None:
    ids = {entry["image_id"] for entry in GOLDEN["images"]}
    names = sorted({name for _, name in GOLDEN["instances"]})
    (tmp_path / "instances.json").write_text(json.dumps({
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [{"image_id": image, "category_id": names.index(name)} for image, name in GOLDEN["instances"]]}))
    (tmp_path / "captions.json").write_text(json.dumps({
        "annotations": [{"image_id": image, "caption": text} for image, text in GOLDEN["gt_captions"]] + [{"image_id": -1, "caption": "a dog"}]}))
    files = [str(tmp_path / "captions.json"), str(tmp_path / "instances.json")]
    truth = ground_truth(*coco_annotations(files, ids), ObjectWords(synonyms, singular_words, COCO_DOUBLES))
    assert {str(image): sorted(truth.get(image, ())) for image in ids} == GOLDEN["gt_objects"]
    with pytest.raises(ValueError, match="0 captions of the"):
        coco_annotations(files[1:], ids)


def test_stray_blanks_of_the_published_table_hide_words_unless_stripped(tmp_path: Path) -> None:
    (tmp_path / "synonyms.txt").write_text(TABLE + "\n".join(ALONE.replace("\n", " ").split(", ")))
    for strip, nodes in ((False, ()), (True, ("motorcycle", "cake"))):
        table = Synonyms.read(tmp_path / "synonyms.txt", strip_synonyms=strip)
        assert ObjectWords(table, singular_words, COCO_DOUBLES)("A motor bike and a cheesecake.").nodes == nodes


def test_image_ids_come_once_in_order(tmp_path: Path) -> None:
    file = tmp_path / "ids.jsonl"
    file.write_text('{"image_id": 7}\n{"image_id": 3}\n{"image_id": 7}\n')
    assert image_ids(file) == [7, 3]
    file.write_text('{"image_id": 7}\n{"image": 3}\n')
    with pytest.raises(ValueError, match="row 2"):
        image_ids(file)


def test_the_seat_of_a_toilet_is_no_chair_and_still_a_word(synonyms: Synonyms) -> None:
    """Length is that of the caption after double words are merged; seats are dropped behind that."""
    mentions = ObjectWords(synonyms, words, COCO_DOUBLES)("the seat of a toilet beside a seat")
    assert mentions.objects == mentions.nodes == ("toilet",)
    row = caption_row(1, mentions, {"toilet"})
    assert (len(row["words"]), score([row]).scores["length"].value) == (8, 8.0)
    assert ObjectWords(synonyms, words, COCO_DOUBLES)("a seat").nodes == ("chair",)
