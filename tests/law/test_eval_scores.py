"""Scores of answers: exact where the truth is known, undefined where there is nothing to divide by, with intervals that hold."""
import math
import random
import sys

import numpy as np
import pytest

from eval.chair import score
from eval.frame.captions import caption_row
from eval.frame.intervals import Score, clustered, proportion
from eval.frame.paired import aligned, difference, mcnemar
from eval.pope import POPE
from eval.pope import score as pope_score
from eval.text.objects import ObjectWords, singular_words
from eval.text.synonyms import Synonyms
from eval.text.wordnet import lemmas
from eval.text.words import words


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_a_liar_of_known_rate_gets_exactly_that_chair(p: float) -> None:
    shapes = ["star", "ring", "moon", "bar", "heart", "cross", "arrow", "circle"]
    find = ObjectWords(Synonyms([[shape] for shape in shapes]), words, {})
    rows, rng = [], random.Random(0)
    for image in range(50):
        truth = rng.sample(shapes, 4)
        absent = [shape for shape in shapes if shape not in truth]
        said = [rng.choice(absent) if i < 4 * p else truth[i] for i in range(4)]
        rows.append(caption_row(image, find(f"there is a {' , a '.join(said)} ."), set(truth)))
    scores = score(rows).scores
    assert scores["chair_i"].value == p
    assert scores["chair_s"].value == (p > 0)
    assert scores["recall"].value == 1 - p


def test_true_captions_hallucinate_nothing_and_recall_all() -> None:
    find = ObjectWords(Synonyms([["star", "asterisk"], ["ring", "hoop"]]), singular_words, {})
    scores = score([caption_row(i, find("there is a red star , a blue ring , a green star ."), {"star", "ring"}) for i in range(9)]).scores
    assert (scores["chair_i"].value, scores["chair_s"].value, scores["recall"].value) == (0, 0, 1)


def test_captions_without_objects_give_no_number_instead_of_an_error() -> None:
    find = ObjectWords(Synonyms([["star"]]), singular_words, {})
    scored = score([caption_row(0, find(""), {"star"})])
    assert math.isnan(scored.scores["chair_i"].value)
    assert scored.unparsed == 1
    assert scored.remarks
    assert math.isnan(score([]).scores["chair_s"].value)


def test_garbage_is_counted_with_every_parser() -> None:
    rows = [{"split": "random", "image": str(i), "label": label, "answer": answer, "question_id": i, "text": "?"}
            for i, (label, answer) in enumerate([("yes", "yes"), ("no", "no"), ("yes", "bananas"), ("no", "")])]
    for parser, accuracy in (("official", 0.75), ("lmms_eval", 0.5), ("vlmevalkit", 0.5), ("strict", 0.5)):
        scored = POPE().aggregate([row | POPE().judge(row, parser) for row in rows])
        assert scored.unparsed == 2
        assert scored.scores["random/accuracy"].value == accuracy
    assert not pope_score([]).scores


def test_lemmas_without_the_language_library_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(RuntimeError, match="needs NLTK"):
        lemmas("a dog")


# --- intervals and comparisons


def test_wilson_stays_in_bounds_and_holds_the_value() -> None:
    for hits, total in ((0, 5), (5, 5), (3, 7), (0, 1)):
        s = proportion(hits, total)
        assert 0 <= s.low <= s.value <= s.high <= 1
        assert s.high > s.low
    assert proportion(50, 100).low == pytest.approx(0.40383, abs=1e-5)


def test_the_bootstrap_draws_pictures_and_is_reproducible() -> None:
    hits = np.array([1.0] * 50 + [0.0] * 50)
    counts = np.stack([hits, np.ones(100)], 1)

    def share(s: np.ndarray) -> np.ndarray:
        return s[..., 0] / s[..., 1]

    alone, together = clustered(range(100), counts, share, 100), clustered([i // 10 for i in range(100)], counts, share, 100)
    assert clustered(range(100), counts, share, 100) == alone
    assert together.high - together.low > 2 * (alone.high - alone.low)  # ten questions about a picture are no ten pictures


def test_paired_runs_are_compared_on_the_questions_on_which_they_differ() -> None:
    assert mcnemar([True] * 9, [True] * 9) == 1.0
    assert mcnemar([True] * 10 + [False] * 10, [True] * 10 + [True] * 10) == pytest.approx(2 / 2**10)
    right = np.array([[1.0, 1.0]] * 30 + [[0.0, 1.0]] * 30)
    score_of = difference(range(60), right, np.ones((60, 2)), lambda s: s[..., 0] / s[..., 1])
    assert score_of.value == 0.5
    assert 0.3 < score_of.low < 0.5 < score_of.high < 0.7
    assert difference(range(60), right, right, lambda s: s[..., 0] / s[..., 1]) == Score(0.0, 0.0, 0.0, 60)
    with pytest.raises(ValueError, match="different items"):
        aligned([{"id": "a"}], [{"id": "b"}])
