"""Object HalBench against the evaluation of RLHF-V, with and without objects that a language model lists. The synonym table here is a small one of
our own that covers the recorded captions."""
import re
from pathlib import Path
from typing import Any

import pytest

from eval.frame.benchmark import Row
from eval.object_halbench import ObjectHalBench, judged, objects_in, score
from eval.text.objects import Mentions, ObjectWords, doubles_of
from eval.text.singular import singular
from eval.text.synonyms import Synonyms
from eval.text.words import words
from tests import golden

GOLDEN = golden.load("evaluation", "object_halbench")
TABLE = """airplane, plane
bird, goose
cake, cheesecake, pancake
cat, kitten
cell phone, iPhone
chair, seat
couch, sofa
cow, calf, ox
dining table, table, desk, coffee table
laptop, computer, laptop computer
motorcycle, motor bike, motor cycle
oven, stove, stove top oven
person, boy, child, driver, man, passenger, people, pitcher, player, woman, brother, pedestrian
refrigerator, fridge
remote, remote control
skis, ski
sports ball, ball
tie, bow, bow tie
traffic light, street light, traffic signal
tv, television
"""
ALONE = """apple, backpack, baseball bat, bed, bench, book, bottle, bowl, broccoli, bus, car, carrot, cup, dog, elephant, fire hydrant, fork, frisbee,
giraffe, hair drier, handbag, horse, hot dog, keyboard, kite, knife, microwave, mouse, orange, parking meter, potted plant, sheep, sink, skateboard,
spoon, stop sign, suitcase, surfboard, teddy bear, tennis racket, toaster, toilet, train, truck, umbrella, vase, wine glass"""
NOUNS = {word: word for word in ("bus", "is", "his", "this", "people", "on", "tennis")}  # as WordNet has them; the rule cuts some of them


@pytest.fixture
def synonyms(tmp_path: Path) -> Synonyms:
    (tmp_path / "synonyms.txt").write_text(TABLE + "\n".join(re.split(r",\s+", ALONE)))
    return Synonyms.read(tmp_path / "synonyms.txt", strip_synonyms=True)


def nouns(caption: str) -> list[str]:
    return [NOUNS.get(word, singular(word)) for word in words(caption)]


def rows_of(mentions: list[Mentions]) -> list[Row]:
    return [judged(entry["image_id"], entry["caption"], found, set(GOLDEN.gt_objects[str(entry["image_id"])]))
            for entry, found in zip(GOLDEN.images, mentions, strict=True)]


def equals(rows: list[Row], wanted: dict[str, Any]) -> None:
    for row, sentence in zip(rows, wanted["sentences"], strict=True):
        assert row["hallucinated"] == [pair for _, pair in sentence["hallucinated"]]
        assert row["generated"] == [node for _, node in sentence["generated"]]
        assert [row["chair_s"], row["chair_i"]] == [sentence["metrics"]["CHAIRs"], sentence["metrics"]["CHAIRi"]]
    overall, scored = wanted["overall"], score(rows)
    found = {name: value.value for name, value in scored.scores.items()}
    assert {"CHAIRs": found["chair_s"], "CHAIRs_refine": found["response"], "CHAIRi": found["mention"], "obj_rec": found["recall"],
            "avg_word_len": found["length"], "correct_rate": 1 - found["response"], "object_correct_rate": 1 - found["mention"]} == {
        name: value for name, value in overall.items() if not name.endswith(("_num", "_count"))}
    assert scored.scores["response"].n == overall["coco_sentence_num"]
    assert sum(len(row["recalled"]) for row in rows) == overall["coco_word_count"]
    assert scored.scores["recall"].n == overall["gt_word_count"]
    assert scored.n == overall["sentence_num"]
    assert scored.unparsed == overall["sentence_num"] - overall["coco_sentence_num"]
    right = overall["object_correct_rate"]
    assert found["f1"] == pytest.approx(2 * overall["obj_rec"] * right / (overall["obj_rec"] + right))


def test_without_a_language_model_it_looks_words_up_as_the_script_does(synonyms: Synonyms) -> None:
    find = ObjectWords(synonyms, nouns, doubles_of(synonyms))
    equals(rows_of([find(entry["caption"]) for entry in GOLDEN.images]), GOLDEN.no_llm)


def test_listed_objects_are_scored_as_the_script_does(synonyms: Synonyms) -> None:
    find = ObjectWords(synonyms, nouns, doubles_of(synonyms))
    equals(rows_of([find.of_names(names) for names in GOLDEN.objs_in]), GOLDEN.with_objs)


def test_phrases_become_distinct_names(synonyms: Synonyms, tmp_path: Path) -> None:
    benchmark = ObjectHalBench("data.jsonl", ["x.json"], str(tmp_path / "synonyms.txt"), text="singular")
    listed = ["young men", "a wooden coffee table", "stop signs", "man", "baby elephants", "train tracks"]
    assert benchmark.names(listed) == ["man", "coffee table", "stop sign", "elephant", "train track"]


@pytest.mark.parametrize(("reply", "objects"), [
    ('["dog", "bench"]', ["dog", "bench"]), ("[]", []), ('The objects are:\n["dog"]', ["dog"]), ('["dog"] and more', None), ("()", None),
    ("", None), ('{"objects": ["dog"]}', None), ("dog, bench", None), ("[1]", ["1"])])
def test_a_reply_is_a_list_or_nothing(reply: str, objects: list[str] | None) -> None:
    assert objects_in(reply) == objects
