"""Every configuration of a way of decoding builds, is what it says, and answers."""
from pathlib import Path

import pytest
import yaml

import mm.decoding
from mm.decoding import Decoding, Plain, Stepwise
from mm.masks import ImageBlock
from mm.models import Branches
from mm.models.vlm_prompt import VLMPrompt
from mm.parts import build, describe
from mm.positions import Restart
from mm.sample import Sample, Turn
from tests.answering import made, questions
from tests.training_runs import ROOT

SHIPPED = sorted((ROOT / "configs" / "decoding").glob("*.yaml"))
ABSTRACT_OR_PLAIN = {Plain, Stepwise, Decoding, mm.decoding.Contrast}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_configuration_builds_and_answers(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert set(content) == {"decoding"}
    method = build(content["decoding"])
    assert isinstance(method, Decoding)
    assert f"{type(method).__module__.rpartition('.')[2]}.yaml" == path.name
    assert describe(build(describe(method))) == describe(method)
    assert repr(method) == repr(type(method)()), "what is shipped are the defaults"
    vlm = made(ImageBlock(), Restart(), Branches())
    samples = [Sample(item.id, item.media(), (Turn(item.question),)) for item in questions()]
    answers = method.decode(VLMPrompt(vlm, samples), 4)
    assert len(answers) == len(samples)
    assert all(len(answer) <= 4 for answer in answers)


def test_every_method_has_a_configuration() -> None:
    methods = {each for each in vars(mm.decoding).values() if isinstance(each, type) and issubclass(each, Decoding)} - ABSTRACT_OR_PLAIN
    built = {type(build(yaml.safe_load(path.read_text())["decoding"])) for path in SHIPPED}
    assert built == methods
