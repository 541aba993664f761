"""Questions without a picture: alone, and in one batch with questions about pictures."""
from dataclasses import replace
from pathlib import Path

import pytest

from eval.frame.benchmark import Item
from eval.frame.model import Model
from mm.masks import Causal, ImageBlock
from mm.models import Branches, Dialogue, Layout
from mm.positions import Restart, Sequential
from mm.sample import Sample, Turn
from tests.answering import CANDIDATES, alone, made, questions


def pictureless() -> list[Item]:
    return [Item(f"none/{text}", "none", tuple, text) for text in ("is there a star ?", "is there a moon ?")]


@pytest.mark.parametrize("layout", [Dialogue(), Branches()], ids=["dialogue", "branches"])
@pytest.mark.parametrize("candidates", [(), CANDIDATES], ids=["text", "candidates"])
def test_a_question_without_a_picture_is_answered_as_alone(layout: Layout, candidates: tuple[str, ...], tmp_path: Path) -> None:
    vlm = made(Causal(), Sequential(), layout) if isinstance(layout, Dialogue) else made(ImageBlock(), Restart(), layout)
    vlm.save(tmp_path)
    items = [replace(item, candidates=candidates) for item in (*pictureless(), *questions())]
    for item, answer in zip(items, Model(str(tmp_path)).answer(items, 8), strict=True):
        assert answer.text == vlm.generate([Sample(item.id, item.media(), (Turn(item.question),))], max_new_tokens=8)[0]
        if candidates:
            assert answer.logp == pytest.approx({text: alone(vlm, item, text) for text in CANDIDATES}, abs=1e-4)
    assert Model(str(tmp_path)).answer(items[:1], 8)[0].text == vlm.generate([Sample("s", (), (Turn(items[0].question),))], max_new_tokens=8)[0]
