"""CARVE: the question is asked again about the part that its answer looked at, in a batch as alone, on every family; what cannot be is refused."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mm.analysis.attention import last_answer, recorded
from mm.decoding import CARVE, Largest, MostAttended, NotTiny, Plain, Sampled
from mm.decoding.carve import Cut, fused
from mm.decoding.regions import box, regions
from mm.decoding.watching import places
from mm.masks import ImageBlock
from mm.models import VLM, Branches
from mm.models.inputs_prompt import InputsPrompt
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Restart
from mm.sample import Media, Sample, Turn
from mm.streams import Resampler
from tests.answering import made
from tests.families import FAMILIES
from tests.law.test_decoding import samples
from tests.processors import directory

GENERAL = "what is left of the moon ?"


@pytest.fixture(scope="module")
def toy() -> VLM:
    return made(ImageBlock(), Restart(), Branches())


def carve(**settings: object) -> CARVE:
    return CARVE(general=GENERAL, layers=[0, 1], suffix="", **settings)  # type: ignore[arg-type]


def pictures(prompt: VLMPrompt | PretrainedPrompt) -> list[np.ndarray]:
    return [sample.media[0].frames for sample in prompt.samples]


def looked(vlm: VLM, sample: Sample, limit: int) -> torch.Tensor:
    """[T, layers, n]: where the rows of a decoded answer look, all read in one pass."""
    said = Plain().decode(VLMPrompt(vlm, [sample]), limit)[0]
    answer = vlm.language.tokenizer.decode(said)
    batch = vlm.processor.collate([vlm.processor.encode(replace(sample, turns=(replace(sample.turns[-1], answer=answer),)))])
    rows = last_answer(batch, 0)
    assert len(rows) == len(said) + 1
    here = places(batch.tokens, 0)
    return recorded(vlm, batch, [rows])[:, 0].transpose(0, 1)[:limit, :, here.at].double()


def test_a_picture_is_cut_by_the_map_of_rows_that_are_read_at_once(toy: VLM) -> None:
    asked = samples(2, 2)
    cut = carve(steps=6).carved(VLMPrompt(toy, asked))
    assert isinstance(cut, VLMPrompt)
    for sample, found in zip(asked, pictures(cut), strict=True):
        general = replace(sample, turns=(Turn("<image>\n" + GENERAL),))
        look = fused(looked(toy, sample, 6), looked(toy, general, 6), 1e-8)
        grid = places(toy.processor.collate([toy.processor.prompt(sample)]).tokens, 0).spread(look)
        wanted = Cut(grid.numpy(), 0.2, MostAttended())(sample.media[0].frames, 0)
        assert found.shape == wanted.shape
        assert (found == wanted).mean() > 0.99  # rounding may move a pixel over the threshold
        assert found.shape != sample.media[0].frames.shape or not np.array_equal(found, sample.media[0].frames)


def test_an_answer_is_the_plain_one_about_the_cut_picture(toy: VLM) -> None:
    prompt = VLMPrompt(toy, samples(2, 2))
    for choice in (None, Sampled(1.5, seed=1)):
        assert carve().decode(prompt, 6, choice) == Plain().decode(carve().carved(prompt), 6, choice)


def test_a_mask_that_hides_nothing_is_the_plain_model_to_the_bit(toy: VLM) -> None:
    prompt = VLMPrompt(toy, samples(2, 1))
    assert torch.equal(carve(top=1.0).continuation(prompt).begin(), prompt.continuation().begin())
    assert carve(top=1.0).decode(prompt, 6) == Plain().decode(prompt, 6)


def test_a_batch_is_its_samples_and_the_second_does_not_remember_the_first(toy: VLM) -> None:
    asked = samples(2, 3)
    together = pictures(carve().carved(VLMPrompt(toy, asked)))
    for sample, found in zip(asked, together, strict=True):
        alone = pictures(carve().carved(VLMPrompt(toy, [sample])))[0]
        assert found.shape == alone.shape
        assert (found == alone).mean() > 0.99
    assert all(np.array_equal(a, b) for a, b in zip(together, pictures(carve().carved(VLMPrompt(toy, asked))), strict=True))


def test_the_first_step_alone_counts_where_that_is_wanted() -> None:
    asked, general = torch.rand(4, 2, 5).double(), torch.rand(3, 2, 5).double()
    first = (asked[0] / (general[0] + 0.1)).sum(0)
    torch.testing.assert_close(fused(asked[:1], general, 0.1), first)
    torch.testing.assert_close(fused(asked, general[:1], 0.1), first)  # an answer that ended at once still has the step that ended it
    torch.testing.assert_close(fused(asked, general, 0.1), sum((t + 1) * (asked[t] / (general[t] + 0.1)).sum(0) for t in range(3)))


def test_an_empty_general_answer_leaves_the_step_that_ended_it(toy: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers end with their first token, so every step that there is is the first."""
    prompt = VLMPrompt(toy, samples(1, 2))
    first = pictures(carve(over="first").carved(prompt))
    monkeypatch.setattr(toy.processor.chat.__class__, "stop_ids", property(lambda chat: list(range(len(toy.language.tokenizer)))), raising=False)
    ended = VLMPrompt(toy, samples(1, 2))
    assert Plain().decode(ended, 3) == [[], []]
    assert all(np.array_equal(a, b) for a, b in zip(pictures(carve().carved(ended)), first, strict=True))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_is_asked_again(name: str, tmp_path: Path) -> None:
    """Grouped queries and left padding; tiles by their view of the whole."""
    vlm = PretrainedVLM.load(directory(name, tmp_path / name))
    generator = np.random.default_rng(0)
    media = [Media(generator.integers(0, 256, (1, *size, 3), dtype=np.uint8)) for size in ((16, 16), (16, 8))]
    questions = ("Is there a star?", "Is there a ring in the picture?")
    asked = [Sample(question, (medium,), (Turn(f"<image>\n{question}"),)) for medium, question in zip(media, questions, strict=True)]
    method = CARVE(general="What do you see ?", steps=4)
    prompt = PretrainedPrompt(vlm, asked)
    before = Plain().decode(prompt, 3)
    cut = method.carved(prompt)
    assert isinstance(cut, PretrainedPrompt)
    for sample, found in zip(asked, pictures(cut), strict=True):
        again = method.carved(PretrainedPrompt(vlm, [sample]))
        assert isinstance(again, PretrainedPrompt)
        alone = pictures(again)[0]
        assert found.shape == alone.shape
        assert (found == alone).mean() > 0.95
        height, width = sample.media[0].frames.shape[1:3]
        assert found.shape[1] >= height
        assert found.shape[2] >= width
        assert not np.array_equal(found, sample.media[0].frames)
    assert method.decode(prompt, 3) == Plain().decode(cut, 3)
    assert Plain().decode(prompt, 3) == before
    assert vlm.model.config.get_text_config()._attn_implementation == "sdpa"


@pytest.mark.parametrize(("depth", "chosen"), [(32, range(20, 26)), (40, range(25, 32)), (28, range(17, 22)), (2, range(1, 2)), (1, range(1))],
                         ids=["published", "40", "28", "2", "1"])
def test_layers_follow_the_depth(depth: int, chosen: range) -> None:
    assert CARVE().chosen(depth) == list(chosen)


def test_layers_of_ones_own() -> None:
    assert CARVE(layers=[-1, 0, 3]).chosen(4) == [0, 3]
    with pytest.raises(ValueError, match="asks for layer 4, and the model has layers 0 to 3"):
        CARVE(layers=[4]).chosen(4)


# --- regions and cuts


def flooded(mask: np.ndarray) -> np.ndarray:
    found, count = np.zeros(mask.shape, dtype=np.int64), 0
    for place in map(tuple, np.argwhere(mask)):
        if found[place]:
            continue
        count += 1
        waiting = [place]
        while waiting:
            row, col = waiting.pop()
            if 0 <= row < mask.shape[0] and 0 <= col < mask.shape[1] and mask[row, col] and not found[row, col]:
                found[row, col] = count
                waiting += [(row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)]
    return found


@pytest.mark.parametrize("density", [0.0, 0.3, 0.5, 0.6, 0.8, 1.0])
def test_regions_are_those_that_a_flood_finds(density: float) -> None:
    generator = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (9, 1), (7, 5), (20, 30)):
        mask = generator.random(shape) < density
        assert np.array_equal(regions(mask), flooded(mask))


def test_corners_do_not_connect() -> None:
    assert regions(np.eye(3, dtype=bool)).max() == 3


def test_which_regions_stay() -> None:
    size, amount = np.array([9, 4, 4, 1]), np.array([1.0, 5.0, 2.0, 9.0])
    assert MostAttended(0.2, 3).chosen(size, amount).tolist() == [False, True, True, True]
    assert MostAttended(0.5, 1).chosen(size, amount).tolist() == [False, True, False, True]
    assert Largest(2).chosen(size, amount).tolist() == [True, True, False, False]
    assert NotTiny(0.1).chosen(size, amount).tolist() == [True, True, True, False]


def test_a_cut_covers_what_its_picture_covered_and_is_black_where_the_mask_is_not() -> None:
    picture = np.full((1, 8, 8, 3), 200, dtype=np.uint8)
    grid = np.zeros((4, 4))
    grid[0, 0] = grid[0, 1] = grid[1, 0] = 1.0
    found = Cut(grid, 0.15, MostAttended())(picture, 0)
    assert found.shape == (1, 8, 8, 3)
    assert (found[0, :2, :2] == 200).all()
    assert (found[0, -1, -1] == 0).all()
    found[:] = 0
    assert (picture == 200).all(), "the picture is not written to"


def test_a_map_that_tells_nothing_leaves_the_picture_as_it_is() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    assert np.array_equal(Cut(np.ones((2, 2)), 0.2, MostAttended())(picture, 0), picture)
    assert np.array_equal(Cut(np.full((2, 2), np.nan), 0.2, MostAttended())(picture, 0), picture)
    assert np.array_equal(Cut(np.eye(2), 0.2, NotTiny(1.1))(picture, 0), picture)
    with pytest.raises(ValueError, match="nothing in it"):
        box(np.zeros((2, 3), dtype=bool))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 40)])
def test_a_picture_may_be_smaller_than_the_grid(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    found = Cut(np.random.default_rng(1).random((6, 8)), 0.2, MostAttended())(picture, 0)
    assert found.dtype == np.uint8
    assert found.shape[1] >= shape[0] or found.shape[2] >= shape[1]


def test_a_thin_cut_is_not_enlarged_without_bound() -> None:
    grid = np.zeros((64, 64))
    grid[:, 5] = 1.0
    found = Cut(grid, 1 / 64, MostAttended())(np.full((1, 64, 64, 3), 7, dtype=np.uint8), 0)
    assert 15 * 64 * 64 < found.shape[1] * found.shape[2] <= 17 * 64 * 64


# --- what cannot be


def test_prompts_that_cannot_be_asked_again_say_why(toy: VLM) -> None:
    family = FAMILIES["llava"]
    with pytest.raises(TypeError, match="make them of samples"):
        CARVE().decode(InputsPrompt(family.model(), family.inputs(["ssIqq"])), 2)
    image = samples(1, 1)[0].media[0]
    two = Sample("two", (image, image), (Turn("<image> <image>\nis there a star ?"),))
    with pytest.raises(ValueError, match="prompt 1 has 2 images and clips"):
        carve().decode(VLMPrompt(toy, [samples(1, 1)[0], two]), 2)
    clip = Sample("clip", (Media(np.repeat(image.frames, 3, 0), "clip"),), (Turn("<video>\nis there a star ?"),))
    with pytest.raises(ValueError, match=r"of \[3\] frames"):
        carve().decode(VLMPrompt(toy, [clip]), 2)
    with pytest.raises(ValueError, match="prompt 0 has 0 images and clips"):
        carve().decode(VLMPrompt(toy, [Sample("none", (), (Turn("is there a star ?"),))]), 2)
    placeless = VLM(toy.vision, Resampler(toy.vision.width, toy.language.width, latents=3, depth=1, heads=2, head_width=8), toy.language).eval()
    with pytest.raises(ValueError, match="no tokens with a place in it"):
        carve().decode(VLMPrompt(placeless, samples(1, 1)), 2)


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="top is the share"):
        CARVE(top=0.0)
    with pytest.raises(ValueError, match="steps is 0"):
        CARVE(steps=0)
