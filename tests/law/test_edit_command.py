"""python -m eval.edits, with editors in place of models: what it reads, writes and refuses."""
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from data.world.edits import Edits
from data.world.sampling import World
from eval.edits.__main__ import listed, main
from eval.edits.editor import Editor
from eval.edits.options import law_of
from eval.edits.recipes import read_recipes
from eval.edits.world import pairs
from eval.frame.benchmark import Row
from tests.clips_of_text import clip_directory
from tests.edits import Oracle, Scripted, inverted, perfect, pie_bench


@pytest.fixture
def model(tmp_path: Path) -> Path:
    home = tmp_path / "pipeline"
    (home / "unet").mkdir(parents=True)
    save_file({"weight": torch.zeros(3)}, home / "unet/diffusion_pytorch_model.safetensors")
    return home


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "swap.yaml"
    file.write_text("edits: [mm.diffusion.Replace]\n")
    return file


class Given:
    """Hands out one editor and remembers for which recipes."""

    def __init__(self, editor: Editor) -> None:
        self.editor, self.recipes = editor, list[Row]()

    def __call__(self, model: str, recipe: Row, device: str, dtype: str | None) -> Editor:
        self.recipes.append(recipe)
        return self.editor


def run_pie(model: Path, recipe: Path, copy: Path, *more: Any) -> tuple[int, Given]:
    editors = Given(Scripted(inverted))
    given = ["pie", "--model", str(model), "--recipe", str(recipe), "--data", str(copy), "--side", "64", *map(str, more)]
    return main(given, editors), editors


def test_pie_writes_a_result_that_says_what_made_it(model: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, clip = pie_bench(tmp_path / "copy", (1, 6)), clip_directory(tmp_path / "clip")
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "squeeze.pth")
    status, editors = run_pie(model, recipe, copy, "--clip", clip, "--lpips", tmp_path / "squeeze.pth")
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "| change_object (1) |" in said.out
    assert "note: no --structure was given" in said.out
    assert editors.recipes == [{"name": "swap", "edits": ["mm.diffusion.Replace"]}]
    result = json.loads((model / "eval/pie/swap.json").read_text())
    assert {"clip", "clip_direction", "lpips", "lpips_masked", "change_colour/clip"} <= result["scores"].keys()
    assert result["config"]["model"]["name"] == "pipeline"
    assert result["config"]["lpips"]["name"] == "squeeze.pth"
    assert result["versions"]["torch"]
    assert str(tmp_path) not in json.dumps(result)
    again, editors = run_pie(model, recipe, copy, "--clip", clip, "--lpips", tmp_path / "squeeze.pth")
    assert (again, editors.editor.asked) == (0, [])  # type: ignore[attr-defined]
    status, _ = run_pie(model, recipe, copy, "--clip", clip)
    assert status == 2
    assert "config was" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "said"), [
    (["--types", "[change_style]"], "has no edits of the types change_style"),
    (["--clip", "nowhere"], "'nowhere' is no folder with config.json"),
    (["--structure", "nowhere.pth"], "there is no such file"),
    (["--modle", "x"], "did you mean --model"),
], ids=["types", "clip", "structure", "option"])
def test_pie_refuses_in_one_line(model: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    status, _ = run_pie(model, recipe, pie_bench(tmp_path / "copy", (1,)), *more)
    error = capsys.readouterr().err
    assert (status, error.count("\n")) == (2, 1), error
    assert said in error


def test_a_model_or_recipe_that_is_none_is_named(tmp_path: Path, model: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = pie_bench(tmp_path / "copy", (1,))
    assert run_pie(tmp_path / "nowhere", recipe, copy)[0] == 2
    assert "no folder with weights in safetensors" in capsys.readouterr().err
    recipe.write_text("[]")
    assert run_pie(model, recipe, copy)[0] == 2
    assert "holds nothing; a recipe is like those in configs/edit" in capsys.readouterr().err
    assert main(["pies"]) == 2
    assert "name the benchmark first, world or pie" in capsys.readouterr().err


def test_the_world_is_that_of_the_model_s_training(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "data: {train: {class_path: data.world.Edits, init_args: {split: train, size: 9, world: {objects: [2, 2]}}}}\n")
    assert law_of(str(tmp_path / "pipeline")) == {"world": {"objects": [2, 2]}}
    (tmp_path / "config.yaml").write_text("data: {train: {class_path: data.world.Scenes, init_args: {world: {objects: [2, 2]}}}}\n")
    assert law_of(str(tmp_path / "pipeline")) == {}
    assert law_of(str(tmp_path / "nowhere/pipeline")) == law_of(None) == {}


def test_recipes_come_from_files_and_folders_and_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.yaml").write_text("edits: []\n")
    (tmp_path / "training.yaml").write_text("trainer: {max_steps: 3}\n")
    assert [recipe["name"] for recipe in read_recipes([str(tmp_path)])] == ["a", "b"]
    assert [recipe["name"] for recipe in read_recipes([str(tmp_path / "b.yaml"), str(tmp_path / "a.yaml")])] == ["b", "a"]
    with pytest.raises(ValueError, match="two recipes are called a"):
        read_recipes([str(tmp_path), str(tmp_path / "a.yaml")])
    with pytest.raises(ValueError, match="no recipes in nothing"):
        read_recipes([])
    with pytest.raises(ValueError, match="cannot read the recipe"):
        read_recipes([str(tmp_path / "c.yaml")])


def test_the_world_is_edited_and_counted(model: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    """The recogniser is one that was told the answers; a trained model and the real one are for the embedded example."""
    oracle, data = Oracle(), Edits("test", 60, world=World(objects=(2, 2), visibility=(1.0, 1.0), grain=0.0))
    editors = Given(perfect(oracle, [*pairs("colour", 2, data), *pairs("shape", 2, data)]))
    module = ModuleType("data.world.recognise")
    module.recognise = oracle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "data.world.recognise", module)
    (tmp_path / "config.yaml").write_text("data: {train: {class_path: data.world.Edits, init_args: {world: {objects: [2, 2], grain: 0.0}}}}\n")
    given = ["world", f"--model={model}", "--recipes", f"[{recipe}]", "--size", "2", "--data.size", "60", "--data.world.visibility", "[1, 1]"]
    assert main(given, editors) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "Colour swaps, 2 pairs" in said
    assert "| swap | 1.00 " in said
    assert (model / "eval/world/world.md").read_text() == said.removesuffix("\n")
    assert json.loads((model / "eval/world/shape/swap.json").read_text())["settings"]["world"]["objects"] == [2, 2]
    assert main([*given, "--kinds", "[size]"], editors) == 2
    assert "kinds" in capsys.readouterr().err


def test_options_of_several_values_are_written_with_blanks() -> None:
    assert listed(["--recipes", "a.yaml", "b.yaml", "--size", "3", "--kinds", "colour"], ("recipes", "kinds")) == [
        "--recipes", '["a.yaml", "b.yaml"]', "--size", "3", "--kinds", '["colour"]']
    assert listed(["--recipes", '["a"]'], ("recipes",)) == ["--recipes", '["a"]']
