"""A VLM that answers under a lever: each question as it would be alone, and the model afterwards as it was."""
from pathlib import Path

import pytest
import torch

import mm
from eval.frame.assembled import Assembled
from eval.frame.model import Model
from mm.levers import pulled, read_lever, under
from mm.masks import Causal, ImageBlock, Prefix
from mm.models import VLM, Branches, Dialogue
from mm.parts import build
from mm.positions import Sequential
from mm.reweight import ACT, DARA
from tests.answering import holds, made, questions, saved

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with as many layers as every lever wants, and weights with which attention matters."""
    path = tmp_path_factory.mktemp("deep")
    vlm = made(Causal(), Sequential(), Dialogue(), layers=4)
    with torch.no_grad():
        for name, parameter in vlm.language.named_parameters():
            if "self_attn" in name:
                parameter.mul_(6)
    vlm.save(path / "model")
    return path


KNOW_EACH_OTHER = {"act", "moda", "context_bidirectional", "croc", "modality_mutual", "prefix"}  # where a picture or a rule looks at questions
NOTHING_NEW = {"causal", "dialogue", "sequential", "dara", "dma", "moda"}  # what the model was trained with; factors that are one
PUBLISHED = {"sink: 64, window: 256": "sink: 1, window: 6", "window: 256, sink: 64, block: 64": "window: 4, sink: 1, block: 2",
             "sink_keep: 0.4, threshold: 0.1": "sink_keep: 0.4, threshold: 0.02", "{sink_keep: 0.4, max_sink_share: 0.2": "{threshold: 1.5, "
             "sink_keep: 0.4, max_sink_share: 0.9, min_image_mass: 0.05", "{sink_keep: 0.6, max_sink_share: 0.5": "{threshold: 1.5, sink_keep: 0.6, "
             "max_sink_share: 0.9, min_image_mass: 0.05"}  # → numbers with which the lever acts in a toy


def shipped(name: str, folder: Path) -> str:
    text = (ROOT / "configs" / "lever" / f"{name}.yaml").read_text()
    for large, small in PUBLISHED.items():
        text = text.replace(large, small)
    (folder / f"{name}.yaml").write_text(text)
    return str(folder / f"{name}.yaml")


def scores(model: Model) -> list[float]:
    return [logp for answer in model.answer(questions(), 8) for logp in (answer.logp or {}).values()]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs" / "lever").glob("*.yaml")))
def test_questions_that_share_a_picture_are_answered_as_each_alone_under_every_lever(
        deep: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = Model(str(deep), shipped(name, tmp_path)), Model(str(deep))
    with under(model.vlm, pulled(model.lever)):
        assert isinstance(model.speaker, Assembled)
        assert (model.speaker._in_branches() is None) == (name in KNOW_EACH_OTHER)
    together = scores(model)
    assert (together == pytest.approx(scores(plain), abs=1e-4)) == (name in NOTHING_NEW)
    monkeypatch.setattr(Assembled, "_in_branches", lambda self: None)
    assert together == pytest.approx(scores(model), abs=1e-5)


def test_factors_on_images_leave_questions_alone(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(str(deep))
    rule = DARA(images=2, heads=2)
    assert rule.factor is not None
    torch.nn.init.uniform_(rule.factor, 0.5, 3.0)
    plain = scores(model)
    model.vlm.reweight = model.vlm.language.rules([rule])
    together = scores(model)
    assert together != pytest.approx(plain, abs=1e-4)
    monkeypatch.setattr(Assembled, "_in_branches", lambda self: None)
    assert together == pytest.approx(scores(model), abs=1e-5)


@pytest.mark.parametrize("kind", [ACT, Prefix])
def test_a_lever_that_knows_other_questions_would_change_answers_if_they_shared_a_picture(
        deep: Path, tmp_path: Path, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(str(deep), shipped(kind.__name__.lower(), tmp_path))
    apart = scores(model)
    monkeypatch.setattr(kind, "shares_rows" if kind is ACT else "shares_image_prefix", True)
    assert scores(model) != pytest.approx(apart, abs=1e-4)


def test_a_lever_of_layout_and_keep_is_pulled_and_let_go(deep: Path, tmp_path: Path) -> None:
    (tmp_path / "both.yaml").write_text("layout: mm.models.Branches\nkeep: {class_path: mm.keep.VMTC, init_args: {kept: 5, merged: 2}}\n")
    model, plain = Model(str(deep), str(tmp_path / "both.yaml")), Model(str(deep))
    with under(model.vlm, pulled(model.lever)):
        assert isinstance(model.vlm.layout, Branches)
        assert model.vlm.processor.layout is model.vlm.layout
        assert model.vlm.geometry.tokens == 7
    assert isinstance(model.vlm.layout, Dialogue)
    assert isinstance(model.vlm.processor.layout, Dialogue)
    before = plain.answer(questions(), 8)
    assert [a.logp for a in model.answer(questions(), 8)] != [a.logp for a in before]
    model.lever = None
    assert model.answer(questions(), 8) == before


def test_a_lever_is_pulled_while_answering_and_leaves_no_trace(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "causal.yaml").write_text("model:\n  mask: mm.masks.Causal\n")
    model, plain = Model(str(directory), str(tmp_path / "causal.yaml")), Model(str(directory))
    steered = VLM.load(directory)
    steered.mask = Causal()
    holds(steered, model, questions())
    assert isinstance(model.vlm.mask, ImageBlock)
    assert [a.logp for a in model.answer(questions(), 8)] != [a.logp for a in plain.answer(questions(), 8)]


@pytest.mark.parametrize("rule", [
    "ACT: {threshold: 0.04, first_layer: 0, last_layer: -1}", "ZeroTuning: {gamma: 3.0}", "PAI: {alpha: 0.9, first_layer: 0}",
    "CMAI: {first_layer: 0}", "VAR: {sink_channels: [0, 1, 2, 3], threshold: 1.5, max_sink_share: 0.9, min_image_mass: 0.01, first_layer: 0}"],
    ids=lambda rule: rule.partition(":")[0])
def test_under_a_rule_too_an_answer_is_that_of_the_question_alone(directory: Path, tmp_path: Path, rule: str) -> None:
    name, _, arguments = rule.partition(": ")
    (tmp_path / "rule.yaml").write_text(f"reweight: [{{class_path: mm.reweight.{name}, init_args: {arguments}}}]\n")
    model, plain, steered = Model(str(directory), str(tmp_path / "rule.yaml")), Model(str(directory)), VLM.load(directory)
    assert model.lever is not None
    with mm.steer(steered, reweight=[build(model.lever["reweight"][0])]):
        holds(steered, model, questions())
    assert [a.logp for a in model.answer(questions(), 8)] != [a.logp for a in plain.answer(questions(), 8)]


@pytest.mark.parametrize(("text", "said"), [
    ("model: {vision: mm.vision.ConvViT}", "has vision"), ("", "NoneType"), ("mask: mm.masks.Caussal", "there is no mm.masks.Caussal"),
    ("model: {msak: mm.masks.Causal}", r"has msak; did you mean mask\?"), ("mask: mm.masks.Caussal", r"did you mean mm.masks.Causal\?"),
    ("reweight: [{class_path: mm.reweight.ACT, init_args: {sink_kep: 0.1}}]", r"reweight: mm.reweight.ACT .* did you mean sink_keep\?"),
    ("reweight: mm.reweight.PAI", "reweight is a list of rules, and here it is a str; put a dash"),
    ("mask: mm.positions.Concentric", "Concentric is no Mask"),
    ("reweight: [mm.masks.Causal]", "reweight: Causal is no Rule; give one of ACT, CMAI"), ("mask: os.system", "not imported unasked"),
    ("mask: [", "cannot read the lever")])
def test_a_lever_that_cannot_be_pulled_is_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lever.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_lever(tmp_path / "lever.yaml")
