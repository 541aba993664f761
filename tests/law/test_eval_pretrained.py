"""python -m eval on pretrained models: answers of a batch are those of single questions, under levers and with adapters too."""
import json
from dataclasses import replace
from pathlib import Path

import pytest

from eval.__main__ import main
from eval.frame.model import Model
from eval.frame.result import Result
from eval.frame.weights import surroundings
from eval.pope import POPE
from tests.families import FAMILIES
from tests.law.test_lora import adapter
from tests.processors import PROCESSORS, directory

CAPTION = "<image>\nWhat do you see in the picture ?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each family, made when it is asked for."""
    return tmp_path_factory.mktemp("models")


def model(home: Path, name: str) -> Path:
    return home / name if (home / name).exists() else directory(name, home / name)


def lever(folder: Path, text: str) -> str:
    (folder / "lever.yaml").write_text(text)
    return str(folder / "lever.yaml")


def asked() -> list:  # type: ignore[type-arg]
    """Yes/no questions of two pictures, captions of them, and one that is begun."""
    short = [item for item in POPE(size=2, k=1).items() if item.split == "random"]
    captions = [replace(item, id=f"caption/{item.picture}", question=CAPTION, candidates=()) for item in short[::2]]
    return [*short, captions[0], replace(captions[1], prefix="a star")]


@pytest.mark.parametrize("steered", [None, "mask: mm.masks.PositionCausal\nreweight: [{class_path: mm.reweight.PAI, init_args: {first_layer: 0}}]\n"],
                         ids=["plain", "steered"])
@pytest.mark.parametrize("name", list(PROCESSORS))
def test_one_row_a_pass_says_what_many_say(name: str, steered: str | None, home: Path, tmp_path: Path) -> None:
    path = lever(tmp_path, steered) if steered else None
    answerer = Model(str(model(home, name)), path, rows=8)
    many = answerer.answer(asked(), 5)
    answerer.speaker.rows = 1
    one = answerer.answer(asked(), 5)
    assert [answer.text for answer in many] == [answer.text for answer in one]
    for first, second in zip(many, one, strict=True):
        assert (first.logp is None) == (second.logp is None)
        assert first.logp is None or first.logp == pytest.approx(second.logp, abs=5e-5)
    assert [answer.generated for answer in many] == [answer.generated for answer in one]
    assert all(1 <= answer.generated <= 5 for answer in many)
    if steered:
        answerer.lever = None
        plain = answerer.answer(asked(), 5)
        assert max(abs(a.logp["yes"] - b.logp["yes"]) for a, b in zip(plain, many, strict=True) if a.logp and b.logp) > 1e-2


@pytest.mark.parametrize(("text", "said"), [
    ("layout: mm.models.Branches", "Branches cannot change that"),
    ("keep: {class_path: mm.keep.VMTC, init_args: {kept: 5, merged: 2}}", "cannot shorten")], ids=["layout", "keep"])
def test_a_lever_that_cannot_hold_is_refused(text: str, said: str, home: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        Model(str(model(home, "llava")), lever(tmp_path, text)).answer(asked(), 3)


def test_the_command_takes_a_directory_of_transformers_a_lever_and_an_adapter(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    llava = model(home, "llava")
    adapter(FAMILIES["llava"].model(), tmp_path / "tuned", r".*language_model.*q_proj")
    path = lever(tmp_path, "mask: mm.masks.ImageBlock\n")
    shared = ["pope", "--model", str(llava), "--out", str(tmp_path / "out"), "--pope.size", "6"]
    for more in ([], ["--lever", path], ["--lora", str(tmp_path / "tuned")], ["--dtype", "bfloat16"]):
        assert main([*shared, *more, *(["--overwrite", "true"] if "--dtype" in more else [])]) == 0
    capsys.readouterr()
    found = {path.stem: Result.load(path) for path in (tmp_path / "out").glob("*.json")}
    assert set(found) == {"pope", "pope-lever", "pope-tuned"}
    tuned = found["pope-tuned"].config
    assert tuned["model"]["lora"]["name"] == "tuned"
    assert tuned["lora"]["r"] == 2
    assert found["pope"].config["model"]["dtype"] == "bfloat16"
    assert found["pope"].config["pretrained"]["dtype"] == "bfloat16"
    assert found["pope-lever"].config["pretrained"]["class"] == "LlavaForConditionalGeneration"
    said = {stem: (tmp_path / "out" / f"{stem}.rows.jsonl").read_text() for stem in found}
    assert len(set(said.values())) == 3
    assert main([*shared, "--lora", str(tmp_path / "tuned")]) == 0  # as it is
    settings = tmp_path / "tuned" / "adapter_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"lora_alpha": 4}))
    assert main([*shared, "--lora", str(tmp_path / "tuned")]) == 2  # another scale makes another model
    assert "model was" in capsys.readouterr().err


def test_what_lies_beside_the_weights_belongs_to_the_identity(tmp_path: Path) -> None:
    llava = directory("llava", tmp_path / "llava")
    before = surroundings(llava)
    template = llava / "chat_template.jinja"
    template.write_text(template.read_text().replace("USER", "HUMAN"))
    assert surroundings(llava) != before
    (llava / "notes.md").write_text("no part of it")
    assert surroundings(llava) == surroundings(llava)


@pytest.mark.parametrize(("change", "said"), [
    ("pickle", "holds no vision-language model"), ("processor", "holds no processor|does not read pictures"),
    ("text", "llama is none that this release"), ("code", "runs only if you say so")])
def test_a_directory_that_is_not_whole_is_named(change: str, said: str, tmp_path: Path) -> None:
    llava = directory("llava", tmp_path / "llava")
    config = json.loads((llava / "config.json").read_text())
    if change == "pickle":
        (llava / "model.safetensors").rename(llava / "pytorch_model.bin")
    elif change == "processor":
        (llava / "processor_config.json").unlink()
    elif change == "text":
        (llava / "config.json").write_text(json.dumps(config["text_config"]))
    else:
        mine = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForImageTextToText": "mine.Model"}}
        (llava / "config.json").write_text(json.dumps(mine))
    with pytest.raises(ValueError, match=said):
        Model(str(llava))
