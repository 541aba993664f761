"""Pictures of levers show what the levers do."""
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

import mm
from mm.analysis.levers import Places, frame_masks, mask_matrices, mass_bars, moved, position_maps
from mm.analysis.levers.__main__ import main
from mm.analysis.levers.masks import LATER, LOST, PANELS, PAST, prompt
from mm.analysis.masses import masses
from mm.masks import Causal, ModalityMutual
from mm.reweight import VAR
from mm.streams import Pool2d
from mm.tokens import Role
from tests.vlms import about, toy

RULE = VAR((0, 1, 2), max_sink_share=0.95, min_image_mass=0.02, threshold=1.4, first_layer=1)


def colours(index: int) -> np.ndarray:
    return np.asarray(mask_matrices().axes[index].images[0].get_array(), dtype=np.float32)


def painted(cells: np.ndarray, colour: str) -> np.ndarray:
    return np.isclose(cells, to_rgb(colour), atol=1e-5).all(-1)


def test_a_panel_paints_what_its_mask_says() -> None:
    index = [type(panel.mask) for panel in PANELS].index(ModalityMutual)
    cells, tokens = colours(index), prompt()
    seen = ModalityMutual().dense(tokens)[0, 0].numpy()
    before = np.tril(np.ones_like(seen))
    assert (painted(cells, PAST) == (seen & before)).all()
    assert (painted(cells, LATER) == (seen & ~before)).all()
    question = ((tokens.role == Role.QUESTION) & (tokens.turn == 0) & ~tokens.is_vision)[0].numpy()
    assert (painted(cells, LATER).any(0) == question).all()


def test_causal_attention_hides_nothing_that_came_before() -> None:
    assert isinstance(PANELS[0].mask, Causal)
    assert not painted(colours(0), LOST).any()


def test_frame_masks_are_the_masks() -> None:
    axes = frame_masks(counts=((4, 8),)).axes
    ceil, floor, full = (np.asarray(one.images[0].get_array()) for one in axes)
    assert [row.sum() for row in ceil] == [2, 4, 6, 8]
    assert [row.sum() for row in floor] == [1, 3, 5, 7]
    assert full.all()
    assert any("1 frame seen by none" in text.get_text() for text in axes[1].texts)


def test_position_maps_are_the_positions() -> None:
    rings = position_maps(grids=((5, 7),)).axes[2].images[0].get_array()
    assert rings.tolist() == [[0] * 7, [0, *[1] * 5, 0], [0, 1, 2, 2, 2, 1, 0], [0, *[1] * 5, 0], [0] * 7]


def test_bars_are_the_mean_masses() -> None:
    table = torch.rand(2, 3, 4, 5, 4)
    table /= table.sum(-1, keepdim=True)
    drawn = mass_bars(table, VAR.group_names)
    heights = [[bar.get_height() for bar in bars] for bars in drawn.axes[1].containers]
    np.testing.assert_allclose(np.array(heights).T, table[1].mean((1, 2)).numpy(), atol=1e-6)


def test_what_moved_in_a_picture_is_what_the_masses_say_moved() -> None:
    vlm, sample = toy(), about(1)
    with mm.steer(vlm, reweight=[RULE]):
        (table,), (places,) = masses(vlm, [sample], RULE), masses(vlm, [sample], Places(4))
        before, after = (np.asarray(axes.images[0].get_array()) for axes in moved(vlm, sample, [1]).axes[1:3])
    torch.testing.assert_close(places[..., 1:].sum(-1), table[..., 2:].sum(-1), rtol=0, atol=1e-5)
    assert before.shape == (2, 2)
    assert after.sum() - before.sum() == pytest.approx(float((table[1] - table[0])[1, :, 0, 2:].sum(-1).mean()), abs=1e-5)


def test_a_sample_without_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match="give one image"):
        moved(toy(), about(1).__class__("none", (), about(1).turns))
    with pytest.raises(ValueError, match=r"the tokens' grid is \(2, 2\) and an image has 5; .* adds no newline"):
        moved(toy(projector=partial(Pool2d, stride=2, newline="frame"), image_size=32), about(1))


def test_the_command_writes_the_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy(config={"num_hidden_layers": 3}).save(tmp_path / "model")
    Image.fromarray(about(1).media[0].frames[0]).save(tmp_path / "x.png")
    assert main([str(tmp_path / "out"), "is there a star ?", "--model", str(tmp_path / "model"), "--image", str(tmp_path / "x.png")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"masks.png", "ccam.png", "positions.png", "masses.png", "moved.png"}
    assert main([str(tmp_path / "out"), "--model", str(tmp_path / "model")]) == 2
    assert "give --image and a question" in capsys.readouterr().err
