"""AMBER: Wang et al., "AMBER: An LLM-free Multi-dimensional Benchmark for MLLMs Hallucination Evaluation", arXiv 2311.07397, 2023.

A description of each picture is held against what it holds and what one might expect there, and yes/no questions ask about existence, attributes and
relations. Of these the positive class is "no": a hallucination that is denied.
"""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from eval.frame import annotated
from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.calibration import SPELLINGS, WORLD, calibration
from eval.frame.choices import at_the_edge, share
from eval.frame.files import picture_in
from eval.frame.intervals import Score, clustered, proportion
from eval.parsers import reader
from eval.text.nouns import Nouns, plain_nouns
from eval.text.similarity import ExactWords, Similarity
from mm.parts import describe

Evaluation = Literal["a", "g", "d", "de", "da", "dr"]
ATTRIBUTE = ("state", "number", "action")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "discriminative": ("existence", *ATTRIBUTE, "relation"), "existence": ("existence",), "attribute": ATTRIBUTE, "state": ("state",),
    "number": ("number",), "action": ("action",), "relation": ("relation",)}
ASKED: Mapping[Evaluation, tuple[str, ...]] = {
    "a": ("generative", *GROUPS["discriminative"]), "g": ("generative",), "d": GROUPS["discriminative"], "de": ("existence",), "da": ATTRIBUTE,
    "dr": ("relation",)}


class AMBER(Benchmark):
    """Descriptions and questions on the procedural world or on the official files.

    Args:
        data: "world", or the official folder: query_all.json (or in query/), annotations.json, relation.json, safe_words.txt.
        images: folder of the pictures AMBER_<n>.jpg.
        evaluation: which rows are asked, in the terms of the official script: a (all), g (descriptions), d (questions), de, da, dr.
        suffix: text behind each yes/no question, for instance "\\nAnswer Yes or No."; the official files have none. It decides the number: state it.
        nouns: what reads a description: "nltk" (tagger and lemmatiser, as the script; extra `amber` and NLTK data) or "words" (our own plain reader).
            None: nltk on files, words on the world.
        similarity: which words are the same besides equal ones, by default none; `eval.text.similarity.WordVectors` of a file, or `SpacyVectors`, the
            script's source. threshold: a similarity above it is the same word.
        size: scenes of the world. seed: of the scenes.
        max_new_tokens: of a description. None: 64 on the world, 512 on files. max_answer_tokens: of an answer to a question.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "vlmevalkit", "strict")

    def __init__(
        self, data: str = "world", images: str | None = None, evaluation: Evaluation = "a", suffix: str = "",
        nouns: Literal["nltk", "words"] | None = None, similarity: Similarity | None = None, threshold: float = 0.8, size: int = 500, seed: int = 0,
        max_new_tokens: int | None = None, max_answer_tokens: int = 16,
    ) -> None:
        world = data == "world"
        self.data = data
        self.images = images
        self.evaluation = evaluation
        self.suffix = suffix
        self.nouns = nouns or ("words" if world else "nltk")
        self.similarity = similarity or ExactWords()
        self.threshold = threshold
        self.size = size
        self.seed = seed
        self.max_new_tokens = max_answer_tokens if "generative" not in ASKED[evaluation] else max_new_tokens or (64 if world else 512)
        self.max_answer_tokens = max_answer_tokens

    def items(self) -> list[Item]:
        rows = [row for row in self._annotated.rows if row["dimension"] in ASKED[self.evaluation]]
        if "generative" in ASKED[self.evaluation]:
            _ = self._language  # what it lacks is said before anything is answered
        return [self._item(row) for row in rows]

    def _item(self, row: Row) -> Item:
        scene, describes = self._annotated.scenes.get(row["image"]), row["dimension"] == "generative"
        candidates = () if describes else WORLD if scene else SPELLINGS
        return Item(
            str(row["number"]), row["image"], scene.media if scene else picture_in(self.images, row["image"]),
            f"<image>\n{row['query']}{'' if describes else self.suffix}", row, candidates, scene.context if scene else None,
            max_new_tokens=None if describes else self.max_answer_tokens)

    def judge(self, row: Row, parser: str) -> Row:
        if row["dimension"] == "generative":
            nouns, similar, _ = self._language
            return self._annotated.associations.judge(nouns(row["answer"]), row["truth"], row["hallu"], similar)._asdict()
        prediction = parse(row["answer"], "strict" if self.data == "world" and parser == "official" else parser)
        return {"prediction": prediction, "correct": prediction == row["truth"]}

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        scored = score(rows)
        return Scored(scored.scores, scored.n, scored.unparsed, (*scored.remarks, *self._departures(rows)))

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        """The responses; of the world also its queries and annotations, and yes and no with the capital that the official script reads."""
        if self.data != "world":
            return {"responses.official.json": [{"id": row["number"], "response": row["answer"]} for row in rows]}
        return {
            "responses.official.json": [{"id": row["number"], "response": str(row.get("prediction") or "").capitalize() or row["answer"]}
                                        for row in rows],
            "query.official.json": [{"id": row["number"], "image": row["image"], "query": row["query"]} for row in self._annotated.rows],
            "annotations.official.json": [{"id": row["number"], **{key: row[key] for key in ("type", "truth", "hallu") if key in row}}
                                          for row in self._annotated.rows]}

    def settings(self) -> Row:
        return {**super().settings(), "similarity": describe(self.similarity)}

    def _departures(self, rows: Sequence[Row]) -> list[str]:
        """Where the generative metrics did not come about in the official way."""
        if self.data == "world" or not any(row["dimension"] == "generative" for row in rows):
            return []
        missing = self._language.missing
        plain = ["nouns are read by our own reader without a tagger (words), not by NLTK as in the official script"] * (self.nouns == "words")
        exact = ["equal words only: for the official script words with similar vectors (spaCy, en_core_web_lg) are the same, so that CHAIR, Cover, "
                 "Hal, Cog and the AMBER score here are other metrics"] * isinstance(self.similarity, ExactWords)
        unknown = [f"{len(missing)} words of the vocabulary have no vector and are similar to none: {', '.join(missing[:5])}"
                   + " ..." * (len(missing) > 5)] * bool(missing)
        return plain + exact + unknown

    @cached_property
    def _annotated(self) -> annotated.Annotated:
        return annotated.world(self.size, self.seed) if self.data == "world" else annotated.load(Path(self.data))

    @cached_property
    def _language(self) -> "Language":
        vocabulary = self._annotated.associations.words
        compared = self.similarity.load(vocabulary)
        similar = lru_cache(maxsize=None)(lambda first, second: compared.of(first, second) > self.threshold)
        return Language(plain_nouns(vocabulary) if self.nouns == "words" else _tagged_nouns(), similar, compared.missing)


class Language(NamedTuple):
    """nouns: of a description. similar: whether two words are the same. missing: words about which the source of similarities knows nothing."""

    nouns: Nouns
    similar: Callable[[str, str], bool]
    missing: tuple[str, ...]


def _tagged_nouns() -> Nouns:
    from eval.text.wordnet import nouns

    nouns("a dog")  # raises where NLTK or its data is missing
    return nouns


def parse(text: str, parser: str = "official") -> str | None:
    """"yes", "no", or None. The official reader takes Yes and No alone, with a capital: "No." and "no" are neither."""
    if parser == "official":
        return {"Yes": "yes", "No": "no"}.get(text)
    return reader(parser, "yes_no_amber" if parser == "lmms_eval" else "yes_no")(text)


# --- scores with intervals


def score(rows: Sequence[Row]) -> Scored:
    """Metrics of judged rows, as shares. Rows: image, dimension; of descriptions kept, flags, covered, invented, else truth, prediction, correct.

    chair: hallucinated over all mentions. cover: objects that are named. hal: descriptions with a hallucinated mention. cog: objects that one might
    expect and that are named without being there. <group>/precision, recall and f1 are those of the answer no, and auc, ece, brier and logp_accuracy
    of P(yes), where log-probabilities are known; existence, where all truths are no, has no auc. amber: (1 - chair + f1) / 2, as the
    paper is remembered to define it (unverified: the official script does not print it).
    """
    captions, answers = [row for row in rows if row["dimension"] == "generative"], [row for row in rows if row["dimension"] != "generative"]
    scores = _descriptions(captions) if captions else {}
    for name, dimensions in GROUPS.items():
        part = [row for row in answers if row["dimension"] in dimensions]
        scores |= {f"{name}/{metric}": value for metric, value in _answers(part).items()} if part else {}
    if captions and answers:
        scores["amber"] = _clustered(rows, _terms(rows), lambda s: (1 - s[..., 0] / s[..., 1] + 2 * s[..., 2] / s[..., 3]) / 2)
    silent, unread = sum(not row["kept"] for row in captions), sum(row["prediction"] is None for row in answers)
    remarks = [f"unparsed: {silent} of {len(captions)} descriptions name no word of the vocabulary, {unread} of {len(answers)} answers are neither "
               "yes nor no"] * bool(silent or unread)
    undefined = [f"{name} is undefined: nothing to divide by" for name, value in scores.items() if math.isnan(value.value)]
    return Scored(scores, len(rows), silent + unread, (*remarks, *undefined, *_as_printed(rows)))


def _descriptions(rows: Sequence[Row]) -> dict[str, Score]:
    columns = ("flags", "covered", "invented")
    sums = np.array([[number for key in columns for number in (sum(row[key]), len(row[key]))] for row in rows], dtype=np.float64)

    def of(place: int) -> Score:
        return _clustered(rows, sums[:, 2 * place:2 * place + 2], lambda s: s[..., 0] / s[..., 1], int(sums[:, 2 * place + 1].sum()))

    return {"chair": of(0), "cover": of(1), "hal": proportion(sum(any(row["flags"]) for row in rows), len(rows)), "cog": of(2)}


def _answers(rows: Sequence[Row]) -> dict[str, Score]:
    def hits(part: Sequence[Row]) -> Score:
        return share([row["correct"] for row in part], [row["image"] for row in part])

    return {
        "accuracy": hits(rows), "precision": hits([row for row in rows if row["prediction"] == "no"]),
        "recall": hits([row for row in rows if row["truth"] == "no"]),
        "f1": _clustered(rows, _terms(rows)[:, 2:], lambda s: 2 * s[..., 0] / s[..., 1], len(rows)), **_sure(rows)}


def _sure(rows: Sequence[Row]) -> dict[str, Score]:
    found = calibration([row.get("logp") for row in rows], [row["truth"] == "yes" for row in rows], [row["image"] for row in rows])
    return {name: value for name, value in found.items() if not math.isnan(value.value)}


def _terms(rows: Sequence[Row]) -> np.ndarray:
    """[R, 4]: hallucinated mentions, mentions; right answers no, answers no plus truths no."""
    return np.array([
        (sum(row["flags"]), len(row["flags"]), 0, 0) if row["dimension"] == "generative" else
        (0, 0, row["truth"] == "no" == row["prediction"], (row["truth"] == "no") + (row["prediction"] == "no")) for row in rows], dtype=np.float64)


def _clustered(rows: Sequence[Row], counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], n: int | None = None) -> Score:
    images = [row["image"] for row in rows]
    return at_the_edge(clustered(images, counts, statistic, len(rows) if n is None else n), images)


# --- what the official script prints


def official(rows: Sequence[Row], evaluation: Evaluation = "a") -> dict[str, dict[str, float]]:
    """The figures of the official script to the digit, in per cent and by the headings of its printout. Every denominator is a thousandth too large
    there, which shows on small sets, and F1 is taken of rounded precision and recall."""
    printed = {"Generative": _printed_descriptions([row for row in rows if row["dimension"] == "generative"])} if evaluation in "ag" else {}
    headings = {"discriminative": "Descriminative", "existence": "Exsitence"}  # spelt as there
    for name, dimensions in GROUPS.items():
        if set(dimensions) <= set(ASKED[evaluation]):
            part = [row for row in rows if row["dimension"] in dimensions]
            counters = len(ATTRIBUTE) if name == "attribute" else 1
            printed[headings.get(name, name.capitalize())] = _printed_answers(part, counters, 0.001 if name == "existence" else 0.0001)
    return printed


def _per_cent(hits: int, total: int, counters: int = 1) -> float:
    return round(hits / (total + 0.001 * counters) * 100, 1)


def _printed_descriptions(rows: Sequence[Row]) -> dict[str, float]:
    def pooled(key: str) -> float:
        return _per_cent(sum(sum(row[key]) for row in rows), sum(len(row[key]) for row in rows))

    clean = sum(not any(row["flags"]) for row in rows) / (len(rows) + 0.001) * 100
    return {"CHAIR": pooled("flags"), "Cover": pooled("covered"), "Hal": round(100 - clean, 1), "Cog": pooled("invented")}


def _printed_answers(rows: Sequence[Row], counters: int, extra: float) -> dict[str, float]:
    """counters: whose denominators are added up, a thousandth in each. extra: in the denominator of F1."""
    denied, false = [row for row in rows if row["prediction"] == "no"], [row for row in rows if row["truth"] == "no"]
    accuracy, precision, recall = (_per_cent(sum(row["correct"] for row in part), len(part), counters) for part in (rows, denied, false))
    f1 = 2 * (precision / 100) * (recall / 100) / ((precision / 100) + (recall / 100) + extra) * 100
    return {"Accuracy": accuracy, "Precision": precision, "Recall": recall, "F1": round(f1, 1)}


def _as_printed(rows: Sequence[Row]) -> list[str]:
    """The main headings of the printout for these rows, as a remark."""
    orders: tuple[Evaluation, ...] = ("g", "de", "da", "dr", "d", "a")
    evaluation = next(name for name in orders if {row["dimension"] for row in rows} <= set(ASKED[name]))
    main = list(official(rows, evaluation).values())[:2 if evaluation == "a" else 1]
    figures = ", ".join(f"{name} {value}" for values in main for name, value in values.items())
    return [f"as the official script prints it, in per cent: {figures}"] * bool(rows)
