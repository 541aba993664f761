"""Object HalBench: Rohrbach et al., EMNLP 2018, as it is evaluated by Yu et al., "RLHF-V: Towards Trustworthy MLLMs via Behavior Alignment from
Fine-grained Correctional Human Feedback", CVPR 2024.

Pictures of COCO are described in answer to eight different prompts. A language model lists the objects that an answer mentions, which are held
against the picture as in CHAIR. `response` is the share of answers with a wrong object among those that mention one at all, `mention` that of wrong
mentions; lower is better, and recall and length say at what price.
"""
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from eval.frame.benchmark import Item, Row, Scored
from eval.frame.captions import caption_row, coco_annotations, ground_truth
from eval.frame.clips import with_fields
from eval.frame.files import picture_of, records
from eval.frame.intervals import clustered, proportion
from eval.judges import Judge, JudgedBenchmark, Prompt
from eval.text.objects import Mentions, ObjectWords, doubles_of, singular_words
from eval.text.synonyms import Synonyms
from mm.sample import PLACEHOLDERS

SHORT = 3  # an answer of no more words mentions nothing, whoever extracts
EXTRACTION = """A model was asked about a picture, and this is what it answered.

Question: {question}

Answer: {answer}

List every thing that the answer says can be seen in the picture. Take only things that the answer names, and of each only its name, without colour,
material, number or other properties. Reply with a JSON list of strings and nothing else, like ["dog", "tennis racket"]; with [] if it names nothing.
"""
COUNTS = ("hallucinated", "generated", "recalled", "gt")


class ObjectHalBench(JudgedBenchmark):
    """Descriptions of the pictures in the user's copy, with the user's own COCO annotations.

    Args:
        data: JSON-lines or an array of {image_id, image, question}, like `obj_halbench_300_with_image.jsonl` (whose content nobody here has seen):
            image is the picture in base64, or the name of a file in `images`.
        annotations: COCO `instances_*.json` and `captions_*.json` that cover the pictures; the official script takes those of train2014 and val2014.
        synonyms: the refined synonym file, `synonyms_refine.txt` of RLHF-V, whose names of several words are kept together.
        text: base forms: "nouns" of WordNet (official; needs NLTK), or "singular" by rule, which needs nothing and is our own choice.
        judge: a language model that lists the objects of an answer. Without one the words of the answer are looked up instead, which is the script's
            own fallback; the two give different numbers.
        extraction_prompt: file with what the judge is asked, {question} and {answer} in it. By default it is asked in our own words, and a number
            that is to equal a published one needs the script's.
    """

    def __init__(self, data: str, annotations: Sequence[str], synonyms: str, images: str | None = None, text: Literal["nouns", "singular"] = "nouns",
                 judge: Judge | None = None, extraction_prompt: str | None = None, max_new_tokens: int = 512) -> None:
        super().__init__(judge, {"extraction": Prompt.read(extraction_prompt, EXTRACTION, ("question", "answer"))}, max_new_tokens)
        self.data = data
        self.images = images
        self.annotations = tuple(annotations)
        self.synonyms = synonyms
        self.text = text

    def items(self) -> list[Item]:
        file = Path(self.data)
        asked = [with_fields(record, f"{file}, row {i}", "image_id", "image", "question") for i, record in enumerate(records(file), 1)]
        rows = [{**row, "image_id": _whole(row["image_id"], f"{file}, row {i}")} for i, row in enumerate(asked, 1)]
        truth = ground_truth(*coco_annotations(self.annotations, {row["image_id"] for row in rows}), self._object_words)
        found = []
        for i, row in enumerate(rows):
            question = row["question"].replace(PLACEHOLDERS["image"], "").strip()
            found.append(Item(
                str(i), str(row["image_id"]), picture_of(self.images, row["image"], f"{file}, row {i + 1}"), f"{PLACEHOLDERS['image']}\n{question}",
                {"image_id": row["image_id"], "question": question, "objects": sorted(truth.get(row["image_id"], ()))}))
        return found

    def consult(self, rows: Sequence[Row], folder: Path, parser: str) -> Sequence[Row]:
        if self._judge is None:
            return rows
        long = [row for row in rows if len(caption_of(row["answer"]).split()) > SHORT]
        replies = self.replies("extraction", [{"question": row["question"], "answer": caption_of(row["answer"])} for row in long], folder)
        listed = {row["id"]: objects_in(reply) for row, reply in zip(long, replies, strict=True)}
        return [{**row, "extracted": listed.get(row["id"], [])} for row in rows]

    def judge(self, row: Row, parser: str) -> Row:
        caption = caption_of(row["answer"])
        if row.get("extracted", ()) is None:
            return {"read": False, "length": words_in(caption)}
        mentions = self._object_words(caption) if "extracted" not in row else self._object_words.of_names(self.names(row["extracted"]))
        return {**judged(row["image_id"], caption, mentions, set(row["objects"])), "correct": not set(mentions.nodes) - set(row["objects"])}

    def names(self, extracted: Sequence[str]) -> list[str]:
        """The distinct names in what a judge listed: two words that are a name in the table, else what each phrase is about."""
        base, about = self._language
        found = [name for phrase in extracted for name in self._object_words.double_names(base(f"a {phrase}")) or about(phrase)]
        return list(dict.fromkeys(found))

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        scored = score(rows)
        by = f"objects listed by {self._judge.name}" if self._judge else "without a language model: words of the answers were looked up"
        return Scored(scored.scores, scored.n, scored.unparsed, (*scored.remarks, by))

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {"answers": [{"image_id": row["image_id"], "question": row["question"], "answer": row["answer"]} for row in rows]}

    @cached_property
    def _object_words(self) -> ObjectWords:
        synonyms = Synonyms.read(self.synonyms, strip_synonyms=True)
        return ObjectWords(synonyms, self._language[0], doubles_of(synonyms))

    @cached_property
    def _language(self) -> tuple[Callable[[str], list[str]], Callable[[str], list[str]]]:
        """Text -> words in base form, and phrase -> what it is about."""
        if self.text == "singular":
            return singular_words, lambda phrase: singular_words(phrase)[-1:]
        from eval.text.wordnet import noun_lemmas, noun_runs

        return noun_lemmas, noun_runs


def _whole(image_id: object, where: str) -> int:
    try:
        return int(str(image_id))
    except ValueError as error:
        raise ValueError(f"{where}: expected the number of a COCO picture as image_id, found {image_id!r}") from error


# --- parse


def caption_of(answer: str) -> str:
    """What the script takes of an answer."""
    return answer.replace("Assistant:", "").strip()


def words_in(caption: str) -> int:
    """Its length as the script counts it: parts between single blanks, one of an empty answer."""
    return len(caption.strip().split(" "))


def objects_in(reply: str) -> list[str] | None:
    """The objects in a judge's reply: a JSON list, or one on the last line, as in the script. None where there is none; there it is asked again."""
    for text in (reply, reply.strip().split("\n")[-1] if '["' in reply else ""):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        return [str(name) for name in found] if isinstance(found, list) else None
    return None


# --- score


def judged(image_id: int, caption: str, mentions: Mentions, truth: set[str]) -> Row:
    """Verdict on one answer, as of a caption in CHAIR."""
    return {**caption_row(image_id, mentions, truth), "read": True, "length": words_in(caption)}


def score(rows: Sequence[Row]) -> Scored:
    """Metrics of judged answers.

    response: answers with a wrong object over answers with an object (CHAIRs_refine); mention: wrong mentions over mentions (CHAIR_i); chair_s:
    answers with a wrong object over all; recall: right objects, each once an answer, over objects; f1: of recall and right mentions; length: words an
    answer. unparsed: answers without an object, and those whose extraction could not be read, which no metric counts.
    """
    read = [row for row in rows if row["read"]]
    counts = [[*(len(row[name]) for name in COUNTS), row["length"], 1, bool(row["generated"]), row["chair_s"]] for row in read]
    totals = np.array(counts, dtype=np.float64).reshape(-1, len(COUNTS) + 4)
    images = [row["image_id"] for row in read]

    def f1(s: np.ndarray) -> np.ndarray:
        recall, right = s[..., 2] / s[..., 3], 1 - s[..., 0] / s[..., 1]
        return np.asarray(2 * recall * right / (recall + right))

    wrong, naming = int(totals[:, 7].sum()), int(totals[:, 6].sum())
    scores = {
        "response": proportion(wrong, naming), "mention": clustered(images, totals, lambda s: s[..., 0] / s[..., 1], int(totals[:, 1].sum())),
        "chair_s": proportion(wrong, len(read)), "recall": clustered(images, totals, lambda s: s[..., 2] / s[..., 3], int(totals[:, 3].sum())),
        "f1": clustered(images, totals, f1, int(totals[:, 1].sum())), "length": clustered(images, totals, lambda s: s[..., 4] / s[..., 5], len(read))}
    remarks = [f"{name} is undefined: nothing to divide by" for name, value in scores.items() if math.isnan(value.value)]
    remarks += [f"{len(rows) - len(read)} replies of the judge hold no list, so their answers are left out"] * (len(read) < len(rows))
    return Scored(scores, len(rows), len(rows) - naming, tuple(remarks))
