"""python -m mm.edit: one edit, its files and its page; and one sentence where something is wrong."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDPMPipeline, UNet2DModel
from PIL import Image

from mm.diffusion import LocalBlend, Recipe, Refine, Replace, Rescale, SelfInject
from mm.diffusion.denoisers import denoiser
from mm.diffusion.inversion import NullText
from mm.diffusion.recipe import read_recipe
from mm.edit.__main__ import main
from mm.edit.choosing import Wishes, chosen, side
from mm.edit.words import caption, has, words
from tests.diffusion_pipelines import pipeline
from tests.noise_model import ddim_scheduler

SOURCE, TARGET = "a red circle left of a square", "a blue circle left of a square"
RECIPES = Path(__file__).parents[2] / "configs/edit/recipe"
Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pipelines: one that works, one whose codec overflows in float16, one that reads no text; and pictures."""
    folder = tmp_path_factory.mktemp("edits")
    pipe = pipeline("stable-diffusion")
    pipe.save_pretrained(folder / "model")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.bias.fill_(1e6)
    pipe.save_pretrained(folder / "loud")
    DDPMPipeline(UNet2DModel(sample_size=8, block_out_channels=(8, 8), down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
                             norm_num_groups=4), ddim_scheduler()).save_pretrained(folder / "wordless")
    noise = np.random.default_rng(0)
    for name, size in (("photo", (16, 24)), ("misfit", (15, 24))):
        Image.fromarray(noise.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    (folder / "text.png").write_text("no picture")
    (folder / "odd.yaml").write_text("edits: []\nstep: 3\n")
    return folder


def run(home: Path, *more: str, model: str = "model", prompt: str = SOURCE, to: str = TARGET) -> int:
    return main(["--model", str(home / model), "--prompt", prompt, "--to", to, "--steps", "2", "--out", str(home / "out"), *more])


@pytest.fixture(scope="module")
def page(home: Path) -> str:
    assert run(home, "--guidance", "3", "--blend", "red,blue", "--words", "Square", "--rescale", "blue=2", "--seed", "4") == 0
    return (home / "out/edit.html").read_text(encoding="utf-8")


def test_it_writes_pictures_maps_and_its_recipe(page: str, home: Path) -> None:
    out = home / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "edit.html", "edited.png", "map-0-red.png", "map-1-blue.png", "map-2-square.png", "mask.png", "plain.png", "recipe.yaml", "source.png"]
    assert {Image.open(out / f"{name}.png").size for name in ("source", "edited", "plain", "mask")} == {(16, 16)}
    assert Image.open(out / "map-0-red.png").size == (512, 512)
    kinds = [type(edit) for edit in read_recipe(out / "recipe.yaml").edits]
    assert kinds == [Replace, SelfInject, LocalBlend, Rescale]


def test_the_recipe_that_it_writes_makes_the_same_edit_again(page: str, home: Path) -> None:
    assert run(home, "--recipe", str(home / "out/recipe.yaml"), "--seed", "4", "--out", str(home / "again")) == 0
    for name in ("edited", "source", "mask"):
        assert np.array_equal(Image.open(home / f"again/{name}.png"), Image.open(home / f"out/{name}.png")), name


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "default-src 'none'" in page
    for way in ("@import", "url(", "http://", "https://", "<link"):
        assert way not in page, way


def test_the_page_shows_every_part(page: str) -> None:
    for part in ('type="range"', "<b>red</b>", 'data-after="no control"', 'data-word="square"', 'data-word="of"', "white: the edit was let through",
                 "drawn, seed 4", "mm.diffusion.Rescale", "python -m mm.edit --model", "diffusers", "revision", "over the edited picture"):
        assert part in page, part
    assert len(re.findall(r'<div data-word="[^"]+">', page)) == 1  # one map to begin with
    for tag in ("div", "section", "figure", "table", "tr", "p", "dl", "span", "button", "h1"):
        assert len(re.findall(rf"<{tag}[\s>]", page)) == page.count(f"</{tag}>"), tag


def test_a_given_picture_keeps_its_size_and_stale_files_go(page: str, home: Path) -> None:
    out = home / "out-photo"
    out.mkdir()
    (out / "mask.png").write_bytes(b"of another edit")
    assert run(home, "--image", str(home / "photo.png"), "--out", str(out), to="a blue red circle left of a square") == 0
    assert Image.open(out / "source.png").size == (24, 16)
    assert not (out / "mask.png").exists()
    written = yaml.safe_load((out / "recipe.yaml").read_text())
    assert [edit["class_path"] for edit in written["edits"]] == ["mm.diffusion.Refine", "mm.diffusion.SelfInject"]
    assert written["inversion"]["class_path"] == "mm.diffusion.inversion.Direct"
    assert "as the model gives the picture back" in (out / "edit.html").read_text()


WRONG = {
    "word": (["--words", "wool"], "has no word 'wool'"),
    "blend": (["--blend", "wool,blue"], "has no word 'wool'"),
    "blend-of-one": (["--blend", "red"], "--blend takes two words"),
    "rescale": (["--rescale", "bleu=2"], "did you mean 'blue'"),
    "factor": (["--rescale", "blue"], "like fluffy=2; got 'blue'"),
    "share": (["--cross", "1.5"], "--cross is a share of the run in [0, 1]; got 1.5"),
    "steps": (["--steps", "0"], "1 step or more"),
    "side": (["--side", "15"], "--side: 15 x 15 pixels do not fit"),
    "device": (["--device", "abacus"], "cannot use the device 'abacus'"),
    "dtype": (["--dtype", "float3"], "'float3' is no dtype"),
    "no-picture": (["--image", "{home}/text.png"], "is not a picture in a known format"),
    "no-file": (["--image", "{home}/nowhere.png"], "nowhere.png"),
    "misfit": (["--image", "{home}/misfit.png"], "24 x 15 pixels do not fit; pictures of this StableDiffusionPipeline have sides of multiples of 2"),
    "recipe": (["--recipe", "{home}/odd.yaml"], "odd.yaml: a recipe has no step; did you mean steps?"),
    "no-recipe": (["--recipe", "{home}/nowhere.yaml"], "cannot read the recipe"),
    "limit": (["--to", f"{TARGET} left of a circle of a circle"], "would be lost; shorten the prompt"),
    "counts": (["--recipe", str(RECIPES / "swap.yaml"), "--to", "a blue circle"], "replacing needs as many words in both prompts"),
    "no-target": (["--to", ""], "an edit takes two captions"),
    "no-folder": (["--model", "{home}/nowhere"], "model_index.json is missing"),
    "no-pipeline": (["--model", "{home}/out"], "model_index.json is missing"),
    "unknown-pipeline": (["--model", "{home}/wordless"], "DDPMPipeline: its denoiser is UNet2DModel; expected a text-to-image pipeline of"),
    "overflow": (["--model", "{home}/loud", "--dtype", "float16"], "float16 overflows"),
}


@pytest.mark.parametrize(("more", "said"), WRONG.values(), ids=WRONG)
def test_it_refuses_in_one_line(page: str, home: Path, capsys: Said, more: list[str], said: str) -> None:
    assert run(home, *(text.format(home=home) for text in more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("mm.edit: ")
    assert error.count("\n") == 1, error
    assert said in error


def test_options_go_on_top_of_a_recipe() -> None:
    model = denoiser(pipeline("stable-diffusion"))
    wishes = Wishes(5, 2.0, 0.6, 0.3, ("red", "blue"), (("blue", 2.0),))
    swap = chosen(read_recipe(RECIPES / "swap.yaml"), wishes, SOURCE, TARGET, True, model)
    replaced, injected, blend, rescaled = swap.edits
    assert isinstance(replaced, Replace)
    assert replaced.cross_replace_steps == 0.6
    assert injected == SelfInject(0.3, 0.5)
    assert isinstance(blend, LocalBlend)
    assert blend.words == ("red", "blue")
    assert isinstance(rescaled, Rescale)
    assert (swap.steps, swap.guidance) == (5, 2.0)
    null = chosen(read_recipe(RECIPES / "null_text.yaml"), Wishes(guidance=3.0), SOURCE, TARGET, True, model)
    assert isinstance(null.inversion, NullText)
    assert null.inversion.guidance == null.guidance == 3.0
    bare = chosen(Recipe(), wishes, SOURCE, TARGET + " of a square", False, model)
    assert [type(edit) for edit in bare.edits] == [Refine, SelfInject, LocalBlend, Rescale]
    assert chosen(swap, Wishes(), SOURCE, TARGET, False, model) == swap


def test_the_default_injection_reaches_attention_that_the_model_has() -> None:
    assert [side(denoiser(pipeline("stable-diffusion")), is_photo) for is_photo in (False, True)] == [0.5, 0.5]  # two resolutions: 1 and 1/2
    assert side(denoiser(pipeline("pixart")), False) == 1.0


def test_words_are_those_that_differ_those_named_and_all_others() -> None:
    found = words("A red circle - left", "a blue circle - left", ["Circle,"])
    assert found.shown == ("red", "blue", "circle")
    assert found.all == ("red", "blue", "circle", "a", "left")
    assert [(word.text, word.name, word.is_changed) for word in caption("A red - circle", "a blue - circle")] == [
        ("A", "a", False), ("red", "red", True), ("-", "", False), ("circle", "circle", False)]
    assert has("a Teddy bear.", "teddy bear")
    assert not has("a teddy and a bear", "teddy bear")
