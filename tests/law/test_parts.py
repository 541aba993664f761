"""Parts as data: describing and building are inverse, and nothing is imported that was not allowed."""
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from mm.masks import Causal, ImageBlock, Mask, ModalityMutual, Power, SinkWindow
from mm.parts import build, describe
from mm.positions import Concentric
from mm.streams import MLP
from mm.vision import ConvViT, PadToSquare, Timm


class Forgetful:
    def __init__(self, size: int = 3) -> None:
        self.length = size


class Greedy:
    def __init__(self, *things: int) -> None:
        self.things = things


class Holding:
    def __init__(self, module: object) -> None:
        self.module = module


class Nested:
    def __init__(self, masks: list[Mask], paths: dict[str, Path]) -> None:
        self.masks, self.paths = masks, paths


@pytest.mark.parametrize("part", [
    Causal(), MLP(4, 6, depth=3), ConvViT(16, 16, 1, 2, resize=PadToSquare((1, 2, 3))), Causal() & (ImageBlock() | Causal()), Concentric(),
    SinkWindow(1, 3) | (Power(4, 1, 2) & ModalityMutual("all_turns"))],
    ids=lambda part: type(part).__name__)
def test_building_a_description_gives_the_part_again(part: object) -> None:
    said = describe(part)
    assert describe(build(said)) == said
    assert type(build(said)) is type(part)


def test_a_description_names_the_public_home_and_every_argument() -> None:
    assert describe(MLP(4, 6)) == {"class_path": "mm.streams.MLP", "init_args": {"in_width": 4, "out_width": 6, "depth": 2, "hidden": None}}


def test_lists_and_dictionaries_of_parts_are_described_within() -> None:
    said = describe(Nested([Causal()], {"here": Path("a/b")}))
    assert said["init_args"] == {"masks": [{"class_path": "mm.masks.Causal", "init_args": {}}], "paths": {"here": "a/b"}}


def test_a_bare_path_means_default_arguments() -> None:
    assert isinstance(build("mm.masks.Causal"), Causal)
    both = build({"class_path": "mm.masks.Either", "init_args": {"first": "mm.masks.Causal", "second": "mm.masks.ImageBlock"}})
    assert isinstance(both.first, Causal)


def test_what_fetched_weights_is_rebuilt_without_fetching() -> None:
    part = Timm("test_vit", image_size=32, pretrained=False)
    part.pretrained = True
    assert describe(part)["init_args"]["pretrained"] is True
    said = describe(part, offline=True)
    assert said["init_args"]["pretrained"] is False
    assert build(said).grid == part.grid


@pytest.mark.parametrize(("part", "message"), [
    (Forgetful(), "does not keep its argument 'size'"),
    (Greedy(1), r"takes \*things"),
    (Holding(nn.Linear(1, 1)), "Holding.module is a Linear, which JSON cannot hold"),
])
def test_a_part_that_breaks_the_convention_is_told_so(part: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        describe(part)


@pytest.mark.parametrize(("said", "message"), [
    ("os.system", r"os\.system is outside mm\."),
    ({"class_path": "mmm.evil.Mask"}, "is outside"),
    ("mm.masks.Casual", r"there is no mm.masks.Casual; did you mean mm.masks.Causal\?"),
    ("mm.reweigt.Var", r"there is no mm.reweigt.Var; did you mean mm.reweight.VAR\?"),
    ("mm.nowhere.Mask", r"there is no mm.nowhere.Mask \("),
    ("Causal", "described by an import path"),
    ({"init_args": {}}, "class_path=None"),
    ({"class_path": "mm.streams.MLP", "init_args": {"width": 3}}, r"streams.MLP does not take these.*did you mean in_width\? It takes \(in_width"),
])
def test_what_cannot_be_built_is_refused_with_a_reason(said: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(said)


def test_a_caller_may_allow_other_packages() -> None:
    made = build({"class_path": "tests.law.test_parts.Forgetful", "init_args": {"size": 4}}, allow=("mm.", "tests."))
    assert (type(made).__name__, made.length) == ("Forgetful", 4)
