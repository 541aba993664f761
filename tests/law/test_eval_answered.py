"""How many questions were answered at all, too, is a share over clips: three answers about one clip are no three clips."""
from typing import Any

import pytest

from eval.frame.intervals import proportion
from eval.mlvu_generation import score as score_generation
from eval.videomme import score

CLIPS, EACH = 30, 3


def answers(silent: int, each: int) -> list[dict[str, Any]]:
    """About so many clips nothing is said."""
    return [{"subtitles": "without", "duration": "short", "task": "summary", "clip": f"clip{clip}", "choice": "A" if clip >= silent else "",
             "matched": clip >= silent, "correct": clip >= silent, "counted": clip >= silent, "words": 3 * (clip >= silent)}
            for clip in range(CLIPS) for _ in range(each)]


@pytest.mark.parametrize("silent", [0, 10])
def test_answers_about_one_clip_stay_together(silent: int) -> None:
    rows = answers(silent, EACH)
    alone = proportion(CLIPS - silent, CLIPS)
    for found in (score(rows).scores["without/overall/answered"], score_generation(rows).scores["summary/answered"]):
        assert (found.value, found.n) == ((CLIPS - silent) / CLIPS, CLIPS * EACH)
        assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_one_answer_a_clip_is_a_proportion() -> None:
    rows = answers(10, 1)
    expected = proportion(20, 30)
    assert score(rows).scores["without/overall/answered"] == score_generation(rows).scores["summary/answered"] == expected
