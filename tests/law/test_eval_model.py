"""A VLM as an answerer: sharing a picture between questions and forcing candidates change how much is computed, not what comes out."""
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from data.world import WORDS, Scenes
from eval.__main__ import main
from eval.frame.benchmark import Item
from eval.frame.model import Model, fingerprint, read_lever
from eval.pope import POPE
from mm.language import Fresh, WordLevel
from mm.masks import Causal, ImageBlock, Mask, Prefix
from mm.models import VLM, Branches, Dialogue, Layout
from mm.positions import Positions, Restart, Sequential
from mm.sample import Sample, Turn
from mm.streams import MLP
from mm.vision import ConvViT

CANDIDATES = ("yes", "no")


def made(mask: Mask, positions: Positions, layout: Layout) -> VLM:
    """A toy that has seen a few answers, so that it says yes, or no, and stops."""
    torch.manual_seed(0)
    vision = ConvViT(image_size=32, width=16, depth=1, heads=2)
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
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


def questions(count: int = 2) -> list[Item]:
    """Two questions about each picture."""
    return [item for item in POPE(size=count, k=1).items() if item.split == "random"]


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


@pytest.mark.parametrize(("text", "said"), [
    ("model: {layout: mm.models.Dialogue}", "has layout"), ("", "NoneType"), ("mask: mm.masks.Caussal", "there is no mm.masks.Caussal"),
    ("mask: os.system", "not imported unasked"), ("mask: [", "cannot read the lever")])
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
