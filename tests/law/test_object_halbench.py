"""Object HalBench from its command line to its result, on a copy of a few rows; and what becomes of odd answers and odd replies of a judge."""
import base64
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from eval.__main__ import Options, evaluate, main
from eval.frame.files import picture_of
from eval.frame.result import Result
from eval.judges import Judge
from eval.object_halbench import ObjectHalBench
from tests.answering import saved
from tests.scripted import Scripted

QUESTIONS = ("Describe the picture.", "What do you see?", "<image>\nTell me about it.")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Three pictures, of which one lies in a folder and two are in the rows; each holds a dog, and its number's thing besides."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 9)).save(buffer, "PNG")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/3.png").write_bytes(buffer.getvalue())
    content = base64.b64encode(buffer.getvalue()).decode()
    rows = [{"image_id": i, "image": "3.png" if i == 3 else content, "question": QUESTIONS[i - 1]} for i in (1, 2, 3)]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "instances.json").write_text(json.dumps({
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "stop sign"}],
        "annotations": [{"image_id": i, "category_id": 1} for i in (1, 2, 3)] + [{"image_id": 2, "category_id": 2}]}))
    (tmp_path / "captions.json").write_text(json.dumps({"annotations": [{"image_id": 1, "caption": "A couch."}]}))
    (tmp_path / "synonyms.txt").write_text("dog, puppy\nstop sign\ncouch, sofa\nstar\n")
    return tmp_path


def bench(copy: Path, judge: Judge | None = None, prompt: str | None = None) -> ObjectHalBench:
    return ObjectHalBench(str(copy / "bench.jsonl"), [str(copy / "instances.json"), str(copy / "captions.json")], str(copy / "synonyms.txt"),
                          str(copy / "images"), "singular", judge, prompt)


class Lister(Judge):
    """Lists by rule what it finds in the answer."""

    name = "lister"
    system = ""
    max_tokens = 9

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies, self._asked = replies, list[str]()

    def ask(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        self._asked += prompts
        for index in reversed(range(len(prompts))):
            yield index, next((reply for word, reply in self.replies.items() if word in prompts[index]), "I cannot tell.")


def test_the_command_describes_scores_and_exports(copy: Path) -> None:
    given = {"data": "bench.jsonl", "annotations": f"[{copy / 'instances.json'}, {copy / 'captions.json'}]", "synonyms": "synonyms.txt",
             "images": "images", "text": "singular", "max_new_tokens": "6"}
    values = [value if name in ("annotations", "text", "max_new_tokens") else str(copy / value) for name, value in given.items()]
    options = [word for name, value in zip(given, values, strict=True) for word in (f"--object_halbench.{name}", value)]
    config = ["--config", "configs/eval/object_halbench.yaml", "--model", str(saved(copy)), "--out", str(copy / "out")]
    assert main(["object_halbench", *config, *options]) == 0
    result = Result.load(copy / "out/object_halbench.json")
    assert result.n == 3
    assert any("without a language model" in remark for remark in result.remarks)
    answers = [json.loads(line) for line in (copy / "out/object_halbench.answers.jsonl").read_text().splitlines()]
    assert [(row["image_id"], row["question"]) for row in answers] == [(1, QUESTIONS[0]), (2, QUESTIONS[1]), (3, "Tell me about it.")]
    assert [set(row) for row in answers] == [{"image_id", "question", "answer"}] * 3


def test_a_judge_lists_what_long_answers_mention_and_is_asked_once(copy: Path) -> None:
    said = {QUESTIONS[0]: "A {answer} puppy on a sofa and a sofa.", QUESTIONS[1]: "There is a dog and a star.", "Tell me about it.": "A dog."}
    model = Scripted(lambda item: said[item.question.removeprefix("<image>\n")])
    judge = Lister({"puppy": '["puppy", "sofa", "sofas"]', "star": '["a dog", "a star"]'})
    for _ in range(2):
        result = evaluate("object_halbench", bench(copy, judge), model, Options(model="m", out=str(copy / "out")))  # type: ignore[arg-type]
        scores = {name: score["value"] for name, score in result.scores.items()}
        assert (scores["response"], scores["mention"], scores["chair_s"]) == (1 / 2, 1 / 4, 1 / 3)
        assert scores["recall"] == 3 / 5  # the third answer has three words at most, so nobody is asked about it
        assert (result.n, result.unparsed) == (3, 1)
        assert "objects listed by lister" in result.remarks
    assert len(judge._asked) == 2
    assert said[QUESTIONS[0]] in judge._asked[0]
    assert QUESTIONS[1] in judge._asked[1]
    assert result.settings["judge"]["name"] == "lister"


def test_a_reply_without_a_list_leaves_its_answer_out_and_is_counted(copy: Path) -> None:
    said = {QUESTIONS[0]: "There is a star and more.", QUESTIONS[1]: "I do not see it.", "Tell me about it.": "There is one dog here."}
    model = Scripted(lambda item: said[item.question.removeprefix("<image>\n")])
    judge = Lister({"star": '["star"]', "here": '["dog"]'})
    result = evaluate("object_halbench", bench(copy, judge), model, Options(model="m", out=str(copy / "out")))  # type: ignore[arg-type]
    assert (result.n, result.unparsed) == (3, 1)
    assert result.scores["response"] | {"low": 0, "high": 0} == {"value": 0.5, "low": 0, "high": 0, "n": 2}
    assert any("1 replies of the judge hold no list" in remark for remark in result.remarks)


@pytest.mark.parametrize(("answer", "said"), [
    ("", 0), ("No.", 0), ("Yes, no, maybe: who knows", 0), ("Ein Hund und ein Sofa stehen da.", 1), ("blah " * 2000, 0),
    ("Assistant: a dog", 1)], ids=["empty", "short", "both", "german", "long", "role"])
def test_odd_answers_are_counted_and_break_nothing(copy: Path, answer: str, said: int) -> None:
    model = Scripted(lambda item: answer)
    result = evaluate("object_halbench", bench(copy), model, Options(model="m", out=str(copy / "out")))  # type: ignore[arg-type]
    assert (result.n, result.unparsed) == (3, 0 if said else 3)
    assert (result.scores["response"]["value"] is None) == (not said)
    assert result.scores["chair_s"]["value"] is not None


def test_what_is_wrong_in_a_copy_is_named(copy: Path) -> None:
    with pytest.raises(ValueError, match=r"row 4: neither the name of a file nor a picture in base64"):
        picture_of(None, "~~~", "bench.jsonl, row 4")()
    (copy / "prompt.txt").write_text("List the objects of {answer}")
    with pytest.raises(ValueError, match=r"prompt.txt has no {question}"):
        bench(copy, Lister({}), str(copy / "prompt.txt"))
    (copy / "bench.jsonl").write_text('{"image_id": "x", "image": "3.png", "question": "?"}\n')
    with pytest.raises(ValueError, match="row 1: expected the number of a COCO picture"):
        bench(copy).items()
    (copy / "bench.jsonl").write_text('{"image_id": 1, "question": "?"}\n')
    with pytest.raises(ValueError, match="row 1: no image"):
        bench(copy).items()
