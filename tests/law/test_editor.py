"""An editor samples as the pipeline does, holds a given picture, and says what cannot be edited."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mm.diffusion import LocalBlend, Recipe, Replace, Request, SelfInject, Window
from mm.diffusion.changed import changed_words
from mm.diffusion.denoisers import denoiser
from mm.diffusion.dynamic import DPL, AlongNullText
from mm.diffusion.dynamic.nouns import Given
from mm.diffusion.editor import Editor
from mm.diffusion.inversion import DDIM, NullText
from mm.diffusion.load import load
from mm.diffusion.recipe import read_recipe, recipe
from tests.diffusion_pipelines import BUILDERS, pipeline, stable_diffusion
from tests.drawing import sd3_folder

RECIPES = sorted(path for folder in ("recipe", "table") for path in (Path(__file__).parents[2] / "configs/edit" / folder).glob("*.yaml"))
SOURCE, TARGET = "a red circle left of a square", "a blue circle left of a square"
EDITS = (Replace(0.8), SelfInject(Window(0.0, 0.6), 1.0), LocalBlend(start_blend=0.0))


@pytest.fixture(scope="module")
def pipe() -> Any:
    return stable_diffusion()


def made(pipe: Any, *requests: Request, edits: Any = EDITS, side: int | tuple[int, int] = (16, 24), **settings: Any) -> Any:
    return Editor(pipe, Recipe(edits, steps=3, guidance=3.0, **settings), side)(requests)


@pytest.mark.parametrize("name", list(BUILDERS))
def test_every_family_is_edited_and_its_source_is_left_alone(name: str) -> None:
    pipe = pipeline(name)
    side = 32 * pipe.vae_scale_factor if name == "sana" else (16, 24)
    request = Request(SOURCE, TARGET, None, 3, ("blue", "square"))
    edits = EDITS[:2]
    if name == "sana":  # its linear self-attention has no fused map
        edits = EDITS[:1]
    plain, = made(pipe, request, edits=(), side=side)
    edited, = made(pipe, request, edits=edits, side=side)
    assert np.array_equal(edited.source, plain.source)
    assert np.array_equal(edited.plain, plain.plain)
    assert np.abs(plain.edited.astype(int) - plain.plain).max() <= 1  # a batch of two, and of one
    assert not np.array_equal(edited.edited, plain.edited)
    assert set(edited.maps) == {"blue", "square"}
    assert all(heat.min() >= 0 and heat.max() == 1 for heat in edited.maps.values())


def test_requests_do_not_know_each_other(pipe: Any) -> None:
    requests = [Request(SOURCE, TARGET, None, 1), Request(SOURCE, "a red circle left of a circle", None, 2)]
    together, alone = made(pipe, *requests), [made(pipe, request)[0] for request in requests]
    for both, one in zip(together, alone, strict=True):
        assert np.array_equal(both.edited, one.edited)
        assert np.abs(both.plain.astype(int) - one.plain).max() <= 1


def test_a_given_picture_is_its_own_source(pipe: Any) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8))
    edited, = made(pipe, Request(SOURCE, TARGET, picture))
    model = denoiser(pipe)
    coded = model.decode(model.encode(picture))[0].clamp(-1, 1).add(1).mul(127.5).round().permute(1, 2, 0).to(torch.uint8).numpy()
    assert np.array_equal(edited.source, coded)
    free, = made(pipe, Request(SOURCE, TARGET, picture), inversion=DDIM())
    assert not np.array_equal(free.source, coded)
    optimised, = made(pipe, Request(SOURCE, TARGET, picture), inversion=NullText(guidance=3.0, inner=2))
    assert optimised.edited.shape == (16, 24, 3)


def test_words_are_learned_in_a_given_picture_and_edited_with(pipe: Any) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8))
    nouns = ("circle", "square")

    def learning(updates: int) -> DPL:
        return DPL(updates=updates, lr=5e-2, background=0.0, following=AlongNullText(3.0, inner=2), words_at=1, pixels_at=1)

    request = Request(SOURCE, TARGET, picture, nouns=nouns)
    plain, = made(pipe, request, edits=EDITS[:2], inversion=NullText(3.0, inner=2, tolerance=0.0, slack=0.0))
    rows = {updates: made(pipe, request, edits=EDITS[:2], words=learning(updates), inversion=DDIM())[0] for updates in (0, 2)}
    assert np.abs(rows[0].edited.astype(int) - plain.edited).max() <= 1  # words that nothing was learned for are the words as they are
    assert not np.array_equal(rows[2].edited, rows[0].edited)
    held, = made(pipe, Request(SOURCE, TARGET, picture), edits=EDITS[:2], words=learning(2), nouns=Given(nouns))
    without, = made(pipe, request, edits=EDITS[:2])
    assert np.array_equal(held.source, without.source)  # Direct, the default, puts the source back besides
    with pytest.raises(ValueError, match="Give the request its nouns"):
        made(pipe, Request(SOURCE, TARGET, picture), words=learning(2))
    with pytest.raises(ValueError, match="in a picture that is given"):
        made(pipe, Request(SOURCE, TARGET, nouns=nouns), words=learning(2))
    with pytest.raises(ValueError, match="along a DDIM inversion"):
        Recipe(words=DPL(), inversion=NullText())
    with pytest.raises(ValueError, match=r"optimised for guidance 7\.5"):
        Recipe(words=DPL(), guidance=3.0)


def test_a_blend_names_its_words_or_finds_those_that_differ(pipe: Any) -> None:
    assert changed_words("a red circle", "a blue circle") == ((1,), (1,))
    assert changed_words("a Circle, red", "a circle of wool, red") == ((), (2, 3))
    edits = (*EDITS[:2], LocalBlend(threshold=(0.97, 0.97), start_blend=0.0))  # random weights look nearly everywhere
    found = {blend: made(pipe, Request(SOURCE, TARGET, blend=blend), edits=edits)[0] for blend in (None, ("red", "blue"), ("left", "left"), ())}
    assert np.array_equal(found[None].edited, found["red", "blue"].edited)
    assert found[None].mask.shape == (16, 24)
    assert not np.array_equal(found[None].mask, found["left", "left"].mask)
    assert found[()].mask is None
    with pytest.raises(ValueError, match="no word that differs"):
        made(pipe, Request(SOURCE, SOURCE))


def test_words_of_neither_caption_are_refused(pipe: Any) -> None:
    with pytest.raises(ValueError, match="has no word 'wool'"):
        made(pipe, Request(SOURCE, TARGET, words=("wool",)))
    with pytest.raises(ValueError, match="words"):
        made(pipe, Request(SOURCE, "a circle"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_recipes_are_read(path: Path) -> None:
    assert read_recipe(path).edits


def test_recipes_say_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    for content, message in ((None, "cannot read"), ("[]", "holds nothing"), ("edit: []", "did you mean edits"),
                             ("edits: mm.diffusion.Replace", "a dash"), ("edits: [mm.diffusion.Replac]",
                              "mine.yaml.*did you mean mm.diffusion.Replace"),
                             ("steps: 0", "1 step or more")):
        if content is not None:
            file.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_recipe(file)
    with pytest.raises(ValueError, match=r"optimised for guidance 7\.5"):
        Recipe(inversion=NullText(), guidance=3.0)
    with pytest.raises(ValueError, match=r"mm\.diffusion\.Edit"):
        recipe({"edits": ["mm.diffusion.Window"]})


def test_a_pipeline_that_was_saved_without_a_part_is_loaded_without_it(tmp_path: Path) -> None:
    assert load(sd3_folder(tmp_path)).text_encoder_3 is None


def test_folders_without_a_pipeline_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model_index\.json is missing"):
        load(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ValueError, match="cannot load"):
        load(tmp_path)
    with pytest.raises(ValueError, match="no dtype"):
        load(tmp_path, dtype="float3")
