"""CHAIR: Rohrbach et al., "Object Hallucination in Image Captioning", EMNLP 2018; recall and length as OPERA (Huang et al., CVPR 2024) adds them.

The model describes a picture. Each word of the description that names an object is looked up among the picture's objects: CHAIR_i is the share of
such mentions without an object, CHAIR_s the share of captions with at least one. Both grow with length, so length and recall stand beside them.
"""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.captions import caption_row, coco_annotations, ground_truth
from eval.frame.files import picture_in, records
from eval.frame.intervals import Score, clustered, proportion
from eval.frame.world import CAPTION_QUESTION, SYNONYMS, pictures
from eval.text.objects import COCO_DOUBLES, ObjectWords, singular_words
from eval.text.singular import singular
from eval.text.synonyms import Synonyms
from eval.text.words import words

LONG_PROMPT = "Please describe this image in detail."


class CHAIR(Benchmark):
    """Descriptions of scenes of the procedural world, or of COCO pictures with the user's own annotation files.

    Args:
        data: "world", or the list of image ids (JSON-lines of {"image_id": int}).
        images: folder of the pictures that `data` names, as image_name says.
        annotations: COCO `instances_*.json` and `captions_*.json` of those images.
        synonyms: COCO synonym file ("node, synonym, synonym" a line). strip_synonyms: repair its stray blanks (published scores have them).
        text: base forms: "singular" of every word (original code), "lemmas" (OPERA, CCA; needs NLTK), or "known": a word of the synonym table
            stays as it is, any other becomes singular. None: known on the world, where "cross" is an object, singular on files.
        prompt: None for the world's own caption question, or the long prompt on files. max_new_tokens: never compare across lengths; None for a
            whole caption of the world or 512 on files.
        size: scenes of the world. image_name: file of an image id.
    """

    def __init__(
        self, data: str = "world", images: str | None = None, annotations: Sequence[str] = (), synonyms: str | None = None,
        strip_synonyms: bool = False, text: Literal["singular", "lemmas", "known"] | None = None, prompt: str | None = None,
        max_new_tokens: int | None = None, size: int = 500, image_name: str = "COCO_val2014_{:012d}.jpg",
    ) -> None:
        world = data == "world"
        if not world and not (annotations and synonyms):
            raise ValueError("CHAIR on image ids needs --chair.annotations (COCO instances and captions files) and --chair.synonyms")
        self.data = data
        self.images = images
        self.annotations = tuple(annotations)
        self.synonyms = synonyms
        self.strip_synonyms = strip_synonyms
        self.text = text or ("known" if world else "singular")
        self.prompt = prompt or (CAPTION_QUESTION if world else LONG_PROMPT)
        self.max_new_tokens = max_new_tokens or (64 if world else 512)
        self.size = size
        self.image_name = image_name

    def items(self) -> list[Item]:
        question = f"<image>\n{self.prompt}"
        if self.data == "world":
            return [
                Item(scene.name, scene.name, scene.media, question, {"image_id": scene.number, "objects": sorted(scene.shapes)}, (), scene.context)
                for scene in pictures(self.size)]
        ids = image_ids(Path(self.data))
        truth = ground_truth(*coco_annotations(self.annotations, set(ids)), self._object_words)
        return [
            Item(str(i), str(i), picture_in(self.images, self.image_name.format(i)), question, {"image_id": i, "objects": sorted(truth.get(i, ()))})
            for i in ids]

    def judge(self, row: Row, parser: str) -> Row:
        return caption_row(row["image_id"], self._object_words(row["answer"]), set(row["objects"]))

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {"captions": [{"image_id": row["image_id"], "caption": row["answer"]} for row in rows]}

    @cached_property
    def _object_words(self) -> ObjectWords:
        if self.synonyms is not None:
            synonyms, doubles = Synonyms.read(self.synonyms, self.strip_synonyms), COCO_DOUBLES
        else:
            synonyms, doubles = SYNONYMS, {}
        return ObjectWords(synonyms, _base_forms(self.text, synonyms), doubles)


def _base_forms(text: str, synonyms: Synonyms) -> Callable[[str], list[str]]:
    if text == "known":
        return lambda caption: [word if synonyms.node(word) else singular(word) for word in words(caption)]
    if text == "singular":
        return singular_words
    from eval.text.wordnet import lemmas

    return lemmas


def score(rows: Sequence[Row]) -> Scored:
    """Metrics of caption rows. chair_s: captions with a wrong mention; chair_i: wrong mentions over mentions; recall: objects mentioned over objects,
    both over all captions; length: mean words a caption (OPERA prints it as Len, divided by 100). unparsed: captions that name no object."""
    lists = ("hallucinated", "generated", "recalled", "gt", "words")
    totals = np.array([[len(row[name]) for name in lists] + [1] for row in rows], dtype=np.float64).reshape(-1, len(lists) + 1)
    images = [row["image_id"] for row in rows]

    def of(top: int, bottom: int) -> Score:
        return clustered(images, totals, lambda s: s[..., top] / s[..., bottom], int(totals[:, bottom].sum()))

    scores = {"chair_s": proportion(sum(r["chair_s"] for r in rows), len(rows)), "chair_i": of(0, 1), "recall": of(2, 3), "length": of(4, 5)}
    silent = sum(not row["generated"] for row in rows)
    remarks = tuple(f"{name} is undefined: nothing to divide by" for name, value in scores.items() if math.isnan(value.value))
    return Scored(scores, len(rows), silent, remarks)


def image_ids(path: Path) -> list[int]:
    """Ids of a JSON-lines file of {"image_id": int}, in order, each once."""
    rows = records(path)
    wrong = next((number for number, row in enumerate(rows, 1) if not isinstance(row.get("image_id"), int)), None)
    if wrong is not None:
        raise ValueError(f"{path}, row {wrong}: expected {{\"image_id\": <integer>}}, found {str(rows[wrong - 1])[:80]}")
    return list(dict.fromkeys(row["image_id"] for row in rows))
