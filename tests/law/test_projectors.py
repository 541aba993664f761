"""What every projector owes: tokens announced and placed beforehand, media that do not know each other, gradients, a model that trains."""
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from mm.keep import VMTC
from mm.masks import ImageBlock, PositionCausal
from mm.models import VLM
from mm.positions import Concentric
from mm.sample import Sample, Turn
from mm.streams import MLP, CAbstractor, FrameProjector, Grid, Marker, Pool2d, Projector, TokenPacker
from mm.tokens import Kind
from mm.training.loss import token_loss
from tests.projectors import NEED_A_GRID, PROJECTORS, REFUSED
from tests.vlms import about, picture, toy

WIDTH, OUT = 8, 6
EVERY = pytest.mark.parametrize("name", PROJECTORS)


def built(name: str, grid: Grid = (4, 4), frames: int = 6, seed: int = 0) -> tuple[Projector, Tensor]:
    """A projector in float64 and features for it, in evaluation mode."""
    torch.manual_seed(seed)
    projector = PROJECTORS[name](WIDTH, OUT).double().eval()
    return projector, torch.randn(frames, grid[0] * grid[1], WIDTH * (1 + len(projector.levels)), dtype=torch.float64)


@EVERY
@pytest.mark.parametrize("grid", [(4, 4), (4, 6), (6, 4), (5, 7)], ids=lambda grid: f"{grid[0]}x{grid[1]}")
def test_what_is_announced_is_what_comes_or_the_grid_is_refused(name: str, grid: Grid) -> None:
    projector, x = built(name, grid)
    frames = (1, 3, 2)
    if grid in REFUSED.get(name, set()):
        for ask in (projector.num_tokens, projector.out_grid, projector.places, lambda grid: projector.project(x, grid, frames)):
            with pytest.raises(ValueError, match=rf"{type(projector).__name__}: .*{grid[0]}x{grid[1]}"):
                ask(grid)
        return
    counts = [projector.num_tokens(grid, each) for each in frames]
    assert projector.project(x, grid, frames).shape == (sum(counts), OUT)
    places = pickle.loads(pickle.dumps(projector.places(grid)))
    for count, each in zip(counts, frames, strict=True):
        place = places(each)
        assert place.dtype == np.int64
        assert place.shape == (3, count)
        placed(place, projector.out_grid(grid), each)


def placed(place: np.ndarray, grid: Grid | None, frames: int) -> None:
    """Tokens that have a place lie in raster order, every frame whole; the others have neither row nor column."""
    frame, row, col = place
    assert (frame >= -1).all() and (frame < frames).all()  # noqa: PT018
    assert ((row < 0) == (col < 0)).all()
    if grid is None:
        assert (row == -1).all()
        return
    wanted = np.indices((frames, *grid)).reshape(3, -1)
    assert np.array_equal(place[:, row >= 0], wanted)


@EVERY
@pytest.mark.parametrize("corner", [(0, 0), (0, 3), (3, 0), (3, 3)], ids=str)
def test_a_token_lies_where_the_features_are_that_it_tells_of(name: str, corner: Grid) -> None:
    """The tokens that change most with the features in a corner are those that lie there, on average over fresh weights."""
    grid: Grid = (4, 4)
    _, row, col = built(name)[0].places(grid)(1)
    if built(name)[0].out_grid(grid) is None:
        assert (row == -1).all()
        return
    moved = torch.zeros(len(row), dtype=torch.float64)
    for seed in range(16):
        projector, x = built(name, seed=seed)
        changed = x.clone()
        changed[:, corner[0] * 4 + corner[1]] = torch.randn_like(changed[:, 0])
        ones = [1] * len(x)
        moved += (projector.project(changed, grid, ones) - projector.project(x, grid, ones)).norm(dim=-1).view(len(x), -1).mean(0)
    most = int(moved.argmax())
    assert (row[most], col[most]) == (row.max() if corner[0] else 0, col.max() if corner[1] else 0)


@EVERY
def test_frames_or_media_in_another_order_give_the_same_tokens_in_that_order(name: str) -> None:
    projector, x = built(name)
    order = [4, 0, 5, 2, 1, 3]
    if isinstance(projector, FrameProjector):
        check(projector(x[order], (4, 4)), projector(x, (4, 4))[order])
    media, frames = x.split([1, 3, 2]), [1, 3, 2]
    tokens = projector.project(x, (4, 4), frames).split([projector.num_tokens((4, 4), each) for each in frames])
    turned = projector.project(torch.cat([media[2], media[0], media[1]]), (4, 4), [2, 1, 3])
    check(turned, torch.cat([tokens[2], tokens[0], tokens[1]]))


@EVERY
def test_a_medium_gets_the_tokens_that_it_gets_alone(name: str) -> None:
    projector, x = built(name)
    tokens = projector.project(x, (4, 4), [2, 1, 3]).split([projector.num_tokens((4, 4), each) for each in (2, 1, 3)])
    for medium, alone in zip(x.split([2, 1, 3]), tokens, strict=True):
        check(projector.project(medium, (4, 4), [len(medium)]), alone)
    disturbed = x.clone()
    disturbed[2:] = 1e3
    check(projector.project(disturbed, (4, 4), [2, 1, 3])[:len(tokens[0])], tokens[0])


def check(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@EVERY
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    projector, x = built(name, frames=2)
    with torch.no_grad():
        for parameter in projector.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    names, values = zip(*projector.named_parameters(), strict=True)

    def project(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(Whole(projector), {f"projector.{name}": value for name, value in zip(names, values, strict=True)}, (x,))

    inputs = [x.requires_grad_(), *(value.detach().requires_grad_() for value in values)]
    assert torch.autograd.gradcheck(project, inputs, fast_mode=True)


class Whole(torch.nn.Module):
    """Calls `project` with one medium of all the frames."""

    def __init__(self, projector: Projector) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, x: Tensor) -> Tensor:
        return self.projector.project(x, (4, 4), [len(x)])


@EVERY
def test_half_precision_gives_nearly_the_same(name: str) -> None:
    """By autocast and by weights; gradients go back through both."""
    projector, x = built(name)
    projector, x = projector.float(), x.float().requires_grad_()
    wanted = projector.project(x, (4, 4), [2, 1, 3])

    def check(found: Tensor) -> None:
        torch.testing.assert_close(found.float(), wanted, rtol=2e-2, atol=2e-2)
        (grad,) = torch.autograd.grad(found.float().sum(), x)
        assert grad.isfinite().all()

    with torch.autocast("cpu", torch.bfloat16):
        mixed = projector.project(x, (4, 4), [2, 1, 3])
    check(mixed)
    check(projector.bfloat16().project(x.bfloat16(), (4, 4), [2, 1, 3]))


@EVERY
def test_the_input_is_left_as_it_was(name: str) -> None:
    projector, x = built(name)
    before = x.clone()
    projector.project(x, (4, 4), [6])
    assert torch.equal(x, before)


# --- in a model


def model(name: str, **levers: Any) -> VLM:
    return toy(projector=PROJECTORS[name], image_size=32, depth=2, **levers)


def samples() -> list[Sample]:
    clip = Sample("clip", (picture(3, frames=3),), (Turn("<video> what do you see ?", "a star"),))
    pair = Sample("pair", (picture(1), picture(2)), (Turn("<image> <image> is there a ring ?", "no"),))
    return [about(0), clip, pair]


@EVERY
def test_a_batch_of_images_and_clips_is_read_as_each_of_them_alone(name: str) -> None:
    vlm = model(name).double()
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in samples()])
    places = vlm.projector.places((4, 4))
    assert (batch.tokens.kind == Kind.VISION).sum(1).tolist() == [places(1).shape[1], places(3).shape[1], 2 * places(1).shape[1]]
    with torch.no_grad():
        together = vlm.embed(batch)
        for b, sample in enumerate(samples()):
            alone = vlm.embed(vlm.processor.collate([vlm.processor.encode(sample)]))
            torch.testing.assert_close(together[b, :alone.shape[1]], alone[0], rtol=0, atol=1e-11)


@EVERY
def test_a_model_trains_a_step_and_is_the_same_after_saving(name: str, tmp_path: Path) -> None:
    vlm = model(name, mask=ImageBlock()).train()
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in samples()])
    optimiser = torch.optim.SGD(vlm.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        optimiser.zero_grad()
        loss = token_loss(*vlm(batch)).total
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert [name for name, parameter in vlm.projector.named_parameters() if parameter.grad is None or not parameter.grad.isfinite().all()] == []
    vlm.eval().save(tmp_path / "model")
    loaded = VLM.load(tmp_path / "model")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in vlm.state_dict().items())
    wanted = vlm.generate(samples(), max_new_tokens=4)
    assert loaded.generate(samples(), max_new_tokens=4) == wanted
    assert [answer for sample in samples() for answer in vlm.generate([sample], max_new_tokens=4)] == wanted


@EVERY
def test_rings_need_a_whole_raster_and_say_so(name: str) -> None:
    vlm = model(name, mask=PositionCausal(), positions=Concentric())
    grid = vlm.geometry.grid
    if grid is not None and vlm.geometry.tokens == grid[0] * grid[1]:
        assert len(vlm.generate(samples(), max_new_tokens=2)) == 3
        return
    with pytest.raises(ValueError, match=r"Concentric: image 0, frame .* so it has no rings"):
        vlm.generate(samples(), max_new_tokens=2)


@EVERY
def test_fewer_features_are_projected_where_no_grid_is_needed_and_refused_where_one_is(name: str) -> None:
    keep = VMTC(kept=6, merged=2)
    if name not in NEED_A_GRID:
        vlm = model(name, keep=keep)
        assert vlm.geometry.grid is None
        assert (vlm.geometry.places(2)[1:] == -1).all()
        assert len(vlm.generate(samples(), max_new_tokens=2)) == 3
    else:
        with pytest.raises(ValueError, match=r"1x8 features|gives 1x8"):
            model(name, keep=keep)


# --- what one of them owes alone


def test_newlines_belong_to_what_they_end_and_have_no_place() -> None:
    x = torch.randn(2, 16, WIDTH)
    row, frame, medium = (Pool2d(WIDTH, OUT, newline=newline) for newline in ("row", "frame", "medium"))
    ends = {}
    for projector in (row, frame, medium):
        place = projector.places((4, 4))(2)
        tokens = projector.project(x, (4, 4), [2])
        assert projector.end is not None
        ends[projector.newline] = [(index, int(place[0, index])) for index in range(len(tokens)) if torch.equal(tokens[index], projector.end)]
        assert [index for index, _ in ends[projector.newline]] == np.flatnonzero(place[1] < 0).tolist()
    assert ends == {"row": [(2, 0), (5, 0), (8, 1), (11, 1)], "frame": [(4, 0), (9, 1)], "medium": [(8, -1)]}


@pytest.mark.parametrize(("kind", "counts"), [("average", (169, 81)), ("max", (169, 81)), ("bilinear", (196, 81)), ("area", (196, 81))])
def test_the_kind_of_pooling_decides_the_number_of_tokens(kind: Any, counts: Sequence[int]) -> None:
    assert tuple(Pool2d(WIDTH, OUT, stride, kind).num_tokens((27, 27)) for stride in (2, 3)) == counts
    assert Pool2d(WIDTH, OUT, 2, newline="row").num_tokens((27, 27), frames=2) == 2 * 14 * 15


@pytest.mark.parametrize(("kind", "share"), [("bilinear", 9), ("area", 729), ("average", 729)])
def test_bilinear_pooling_reads_the_centres_alone(kind: Any, share: int) -> None:
    """27 x 27 to 3 x 3: nine of 729 features, by the trap that the spec of CrossLMM's pooling tells of."""
    x = torch.randn(1, 729, WIDTH, requires_grad=True)
    Pool2d(WIDTH, OUT, stride=9, kind=kind)(x, (27, 27)).sum().backward()
    assert x.grad is not None
    assert int((x.grad.abs().sum(-1) > 0).sum()) == share


def test_a_token_reads_the_features_of_its_own_block_alone() -> None:
    projector = TokenPacker(WIDTH, OUT, factor=2, levels=(-2, -1), heads=2)
    x = torch.randn(1, 16, 3 * WIDTH)
    changed = x.clone()
    changed[0, [0, 1, 4, 5]] += 1.0
    assert (projector(x, (4, 4)) != projector(changed, (4, 4))).any(-1).tolist() == [[True, False, False, False]]


def test_arguments_that_make_no_sense_are_named() -> None:
    with pytest.raises(ValueError, match="their number is one, such as 144 or 256; got 10"):
        CAbstractor(WIDTH, OUT, tokens=10)
    with pytest.raises(ValueError, match="its positions are those of 4x4 features, and the encoder gives 2x8"):
        CAbstractor(WIDTH, OUT, tokens=4, grid=(4, 4)).num_tokens((2, 8))
    with pytest.raises(ValueError, match="kind is one of average, max, bilinear, area; got 'mean'"):
        Pool2d(WIDTH, OUT, kind="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a stride of 5 leaves nothing of a grid of 4x4"):
        Pool2d(WIDTH, OUT, stride=5, kind="max").num_tokens((4, 4))
    with pytest.raises(ValueError, match="levels name at least one layer"):
        TokenPacker(WIDTH, OUT, levels=())


def test_every_projector_of_the_package_is_held_here() -> None:
    import mm.streams

    concrete = {kind for kind in vars(mm.streams).values() if isinstance(kind, type) and issubclass(kind, Projector) and not kind.__abstractmethods__}
    held = {type(build(WIDTH, OUT)) for build in PROJECTORS.values()}
    assert concrete - held == {Marker}  # which reads no features; tests/law/test_in_llm_models.py has it
    assert MLP in concrete
