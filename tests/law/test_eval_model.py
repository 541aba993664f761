"""A VLM as an answerer: sharing a picture between questions and forcing candidates change how much is computed, not what comes out."""
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import mm
from data.world import WORDS, Scenes
from eval.__main__ import main
from eval.frame.benchmark import Item
from eval.frame.model import Model, fingerprint, read_lever
from eval.frame.result import Result
from eval.pope import POPE
from mm.language import Fresh, WordLevel
from mm.masks import Causal, ImageBlock, Mask, Prefix
from mm.models import VLM, Branches, Dialogue, Layout
from mm.parts import build
from mm.positions import Positions, Restart, Sequential
from mm.reweight import ACT, DARA, MODA
from mm.sample import Sample, Turn
from mm.streams import MLP
from mm.vision import ConvViT
from tests import layouts
from tests.vlms import picture, toy

ROOT = Path(__file__).parents[2]

CANDIDATES = ("yes", "no")


def made(mask: Mask, positions: Positions, layout: Layout, layers: int = 2) -> VLM:
    """A toy that has seen a few answers, so that it says yes, or no, and stops."""
    torch.manual_seed(0)
    vision = ConvViT(image_size=32, width=16, depth=1, heads=2)
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2}
    language = Fresh(config=config, tokenizer=WordLevel(words=list(WORDS)))
    vlm = VLM(vision, MLP(vision.width, language.width), language, mask=mask, positions=positions, layout=layout)
    optimiser = torch.optim.AdamW(vlm.parameters(), lr=1e-2)
    scenes = Scenes("train", 100, 0, questions=0)
    rows = []
    for i in range(4):
        asked = ("<image>is there a star ?", "is there a ring ?", "is there a moon ?")
        turns = tuple(Turn(question, CANDIDATES[k % 2]) for k, question in enumerate(asked))
        rows.append(vlm.processor.encode(Sample(str(i), scenes[i].media, turns)))
    batch = vlm.processor.collate(rows)
    for _ in range(8):
        logits, targets, _ = vlm(batch)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, targets).backward()
        optimiser.step()
    return vlm.eval()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    made(ImageBlock(), Restart(), Branches()).save(path / "model")
    return path


def questions() -> list[Item]:
    """Two about each of two pictures."""
    return [item for item in POPE(size=2, k=1).items() if item.split == "random"]


def alone(vlm: VLM, item: Item, candidate: str) -> float:
    """Log-probability of one candidate, in a row of its own."""
    row = vlm.processor.encode(Sample(item.id, item.media(), (Turn(item.question, candidate),)))
    with torch.no_grad():
        logits, targets, _ = vlm(vlm.processor.collate([row]))
    return float(logits.log_softmax(-1).gather(1, targets[:, None]).sum())


def holds(vlm: VLM, model: Model, items: Sequence[Item]) -> None:
    """Every answer of `model` is what `vlm` gives to that item alone."""
    for item, answer in zip(items, model.answer(items, 8), strict=True):
        assert answer.logp == pytest.approx({text: alone(vlm, item, text) for text in CANDIDATES}, abs=1e-4)
        assert answer.text == vlm.generate([Sample(item.id, item.media(), (Turn(item.question),))], max_new_tokens=8)[0]


def test_answers_are_those_of_each_question_alone(directory: Path) -> None:
    model = Model(str(directory))
    holds(VLM.load(directory), model, questions())
    assert {answer.text for answer in model.answer(questions(), 8)} <= set(CANDIDATES)  # else forcing was not tried at all


@pytest.mark.parametrize("setting", [(Causal(), Sequential(), Dialogue()), (Prefix(), Sequential(), Dialogue()), (Prefix(), Restart(), Branches())],
                         ids=lambda setting: " ".join(type(part).__name__ for part in setting))
def test_sharing_a_picture_is_exact_or_not_done(tmp_path: Path, setting: tuple[Mask, Positions, Layout]) -> None:
    vlm = made(*setting)
    vlm.save(tmp_path)
    holds(vlm, Model(str(tmp_path), rows=3), questions())


def test_a_picture_that_reads_its_question_is_shared_by_none(tmp_path: Path) -> None:
    vlm = made(Causal(), Restart(), Branches())
    vlm.reweight = vlm.language.rules([MODA()])
    torch.nn.init.normal_(vlm.reweight[0].ratio)  # type: ignore[attr-defined]
    vlm.save(tmp_path)
    holds(vlm, Model(str(tmp_path), rows=3), questions())


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
    with model._steered():
        assert (model._in_branches() is None) == (name in KNOW_EACH_OTHER)
    together = scores(model)
    assert (together == pytest.approx(scores(plain), abs=1e-4)) == (name in NOTHING_NEW)
    monkeypatch.setattr(Model, "_in_branches", lambda self: None)
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
    monkeypatch.setattr(Model, "_in_branches", lambda self: None)
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
    with model._steered():
        assert isinstance(model.vlm.layout, Branches)
        assert model.vlm.processor.layout is model.vlm.layout
        assert model.vlm.geometry.tokens == 7
    assert isinstance(model.vlm.layout, Dialogue)
    assert isinstance(model.vlm.processor.layout, Dialogue)
    before = plain.answer(questions(), 8)
    assert [a.logp for a in model.answer(questions(), 8)] != [a.logp for a in before]
    model.lever = None
    assert model.answer(questions(), 8) == before


def test_a_row_that_would_be_too_long_is_split(directory: Path) -> None:
    model, whole = Model(str(directory)), Model(str(directory))
    longest = max(len(model.vlm.processor.prompt(Sample("x", item.media(), (Turn(item.question),)))) for item in questions())
    model.vlm.max_length = longest + 4
    for got, wanted in zip(model.answer(questions(), 8), whole.answer(questions(), 8), strict=True):
        assert got.text == wanted.text
        assert got.logp == pytest.approx(wanted.logp, abs=1e-4)


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


def test_the_command_writes_what_it_did_and_does_it_once(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lever = tmp_path / "causal.yaml"
    lever.write_text("mask: mm.masks.Causal\n")
    command = ["pope", "chair", "--model", str(directory), "--limit", "2", "--pope.size", "9", "--chair.size", "9", "--lever", str(lever)]
    assert main(command) == 0
    assert "unparsed" in capsys.readouterr().out
    files = {path.name: path.read_bytes() for path in (directory / "eval").iterdir()}
    assert {"pope-causal-limit2.json", "chair-causal-limit2.json", "chair-causal-limit2.captions.jsonl"} <= files.keys()
    result = json.loads(files["pope-causal-limit2.json"])
    assert result["lever"] == {"file": "causal.yaml", "mask": "mm.masks.Causal"}
    assert result["settings"]["decoding"] == {"greedy": True, "num_beams": 1, "max_new_tokens": 8}
    assert result["config"]["parts"]["language"]["class_path"].startswith("mm.language")
    assert main(command) == 0
    for name, content in files.items():
        again = (directory / "eval" / name).read_bytes()
        if name.endswith("limit2.json"):
            assert json.loads(again) | {"seconds": 0} == json.loads(content) | {"seconds": 0}
        else:
            assert again == content


def test_a_view_stands_behind_the_name(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pope", "pope:blind", "pope:context", "--model", str(directory), "--limit", "2", "--pope.size", "9", "--out", str(tmp_path)]
    assert main(command) == 0
    logp = [tuple(row["logp"]["yes"] for row in map(json.loads, (tmp_path / f"pope{view}-limit2.rows.jsonl").read_text().splitlines()))
            for view in ("", "-blind", "-context")]
    assert len(set(logp)) == 3
    assert main(["pope:blnd", "--model", str(directory)]) == 2
    assert "a view is full, blind, context" in capsys.readouterr().err


def test_answers_of_other_weights_are_not_taken(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vlm = VLM.load(directory)
    vlm.save(tmp_path / "model")
    command = ["pope", "--model", str(tmp_path), "--limit", "1", "--pope.size", "3"]
    assert main(command) == 0
    before = fingerprint(tmp_path)
    with torch.no_grad():
        next(vlm.projector.parameters()).add_(0.1)
    vlm.save(tmp_path / "model")
    assert fingerprint(tmp_path) != before
    assert main(command) == 2
    assert "model was" in capsys.readouterr().err
    assert main([*command, "--overwrite", "true"]) == 0


def test_an_answer_that_is_begun_goes_on_as_greedy_decoding_would(tmp_path: Path) -> None:
    """Also beside answers that are not begun, and about clips of different lengths."""
    vlm = toy(max_length=512)
    vlm.save(tmp_path / "model")
    model = Model(str(tmp_path))
    media = [picture(seed, frames=frames) for seed, frames in ((1, 2), (2, 5), (3, 3))]
    texts = [f"<video>\nis there a {shape} ?" for shape in ("star", "ring", "circle")]
    whole = [vlm.generate([Sample(text, (clip,), (Turn(text),))], max_new_tokens=6)[0] for text, clip in zip(texts, media, strict=True)]
    assert all(len(answer.split()) == 6 for answer in whole)  # it rambles, so that there is something to begin
    begun = [" ".join(answer.split()[:count]) for answer, count in zip(whole, (2, 0, 1), strict=True)]
    items = [Item(text, text, lambda clip=clip: (clip,), text, prefix=prefix)  # type: ignore[misc]
             for text, clip, prefix in zip(texts, media, begun, strict=True)]
    answers = [answer.text for answer in model.answer(items, 6)]
    for prefix, rest, answer in zip(begun, answers, whole, strict=True):
        assert f"{prefix} {rest}".split()[:6] == answer.split()


def test_the_command_line_asks_about_clips(tmp_path: Path) -> None:
    toy(config={"max_position_embeddings": 1024}).save(tmp_path / "model")
    copy = layouts.mvbench(tmp_path / "copy")
    given = ["--model", str(tmp_path), "--mvbench.data", str(copy), "--mvbench.sampling", "mm.media.MVBench", "--mvbench.sampling.frames", "3",
             "--mvbench.max_new_tokens", "3", "--order.size", "6", "--limit", "2"]
    assert main(["mvbench", "order", "order:shuffled", *given]) == 0
    assert {path.name for path in (tmp_path / "eval").glob("*limit2.json")} == {
        "mvbench-limit2.json", "order-limit2.json", "order-shuffled-limit2.json"}
    result = Result.load(tmp_path / "eval" / "mvbench-limit2.json")
    assert result.n == 40
    assert result.settings["sampling"] == {"class_path": "mm.media.MVBench", "init_args": {"frames": 3}}
