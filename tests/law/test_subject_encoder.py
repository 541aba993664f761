"""From a reference picture to tokens: views, projector, scoring, and the module that holds them."""
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mm.diffusion.custom import Customiser, RelevanceScorer, SubjectEncoder, SubjectProjector, Views, VisualStream
from mm.diffusion.custom.views import interleaved
from mm.vision import Pixels
from tests.customising import WIDTH, customiser, eyes, pictures
from tests.small_networks import toy_unet


def test_trap_parts_are_strided_and_not_quadrants() -> None:
    """Part (i, j) is every second pixel from row i and column j on; each has the whole picture."""
    picture = torch.arange(16).view(1, 1, 4, 4)
    parts = interleaved(picture, 2)
    assert parts[:, 0].tolist() == [[[0, 2], [8, 10]], [[1, 3], [9, 11]], [[4, 6], [12, 14]], [[5, 7], [13, 15]]]
    two = interleaved(torch.cat([picture, picture + 100]), 2)
    assert torch.equal(two[:4], parts)
    assert torch.equal(two[4:], parts + 100)


def test_features_of_encoders_stand_side_by_side_place_by_place() -> None:
    encoder = eyes()
    views = encoder(pictures(3))
    assert (encoder.width, encoder.places) == (60, 4)
    assert views.whole.shape == (3, 4, 60)
    assert views.parts.shape == (3, 16, 60)
    parts = [Pixels(8, 4)(pictures(3)[:, :, i::2, j::2]) for i in range(2) for j in range(2)]
    for place in range(4):
        for part in range(4):
            assert torch.equal(views.parts[:, 4 * place + part, :48], parts[part][:, place])
    alone = encoder(pictures(3)[1:2])
    assert all(torch.equal(one[1:2], other) for one, other in zip(views, alone, strict=True))
    assert all(torch.equal(one, torch.zeros_like(other)) for one, other in zip(encoder.blank(3), views, strict=True))


def test_pictures_need_not_be_square_and_encoders_stay_frozen() -> None:
    encoder = eyes().train()
    assert encoder(pictures(1, 9, 30)).whole.shape == (1, 4, 60)
    assert not any(module.training for module in encoder.modules())


def test_the_released_encoders_give_2176_channels_at_27_by_27_places() -> None:
    with torch.device("meta"):
        encoder = SubjectEncoder.released(pretrained=False)
    assert (encoder.width, encoder.places) == (2176, 729)
    assert [len(each.model.blocks) for each in encoder.encoders] == [26, 23], "without the last block"  # type: ignore[union-attr]
    with torch.device("meta"):
        projector = SubjectProjector()
    assert (projector.in_width, projector.out_width) == (encoder.width, 2048)
    assert [tuple(layer.weight.shape) for layer in projector.mlp if isinstance(layer, torch.nn.Linear)] == [(8704, 2176), (2048, 8704), (2048, 2048)]


def test_the_projector_is_the_dense_formula() -> None:
    torch.manual_seed(0)
    projector = SubjectProjector(12, 5, hidden=16, heads=3).double()
    views = Views(torch.randn(2, 4, 12, dtype=torch.float64), torch.randn(2, 9, 12, dtype=torch.float64))

    def heads(x: Tensor) -> Tensor:
        return x.view(2, -1, 3, 4).transpose(1, 2)

    whole, parts = projector.norm_whole(views.whole), projector.norm_parts(views.parts)
    q, k, v = heads(projector.query(whole)), heads(projector.key(parts)), heads(projector.value(parts))
    gathered = (torch.softmax(q @ k.transpose(2, 3) / 2, -1) @ v).transpose(1, 2).reshape(2, 4, 12)
    expected = projector.mlp(projector.out(gathered)) + projector.around(views.whole)
    torch.testing.assert_close(projector(views), expected, rtol=0, atol=1e-12)
    mixed = views.parts[:, torch.randperm(9)]
    torch.testing.assert_close(projector(Views(views.whole, mixed)), expected, rtol=0, atol=1e-12)


def test_dropped_pictures_are_the_blank_one() -> None:
    whole = customiser(toy_unet())
    found = whole.dropped(pictures(2), torch.tensor([True, False]))
    torch.testing.assert_close(found[0], whole.blank(1)[0])
    torch.testing.assert_close(found[1], whole.tokens(pictures(2))[1])
    assert not torch.allclose(found[0], whole.tokens(pictures(2))[0], atol=1e-2)


def test_a_saved_customiser_is_the_same_and_builds_nothing_from_elsewhere(tmp_path: Path) -> None:
    whole = customiser(toy_unet())
    whole.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["customiser.json", "projector.safetensors", "stream.safetensors"]
    again = Customiser.load(tmp_path)
    assert torch.equal(again.tokens(pictures(2)), whole.tokens(pictures(2)))
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in whole.state_dict().items())
    said = json.loads((tmp_path / "customiser.json").read_text())
    said["projector"]["class_path"] = "os.system"
    (tmp_path / "customiser.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match="is not imported unasked"):
        Customiser.load(tmp_path)
    with pytest.raises(ValueError, match=r"holds no customiser\.json"):
        Customiser.load(tmp_path / "elsewhere")


def test_scoring_keeps_the_best_tokens_and_leaves_even_ones_alone() -> None:
    torch.manual_seed(0)
    scorer = RelevanceScorer(8, 12, 4, inner=16)
    tokens, text, latents = torch.randn(2, 10, 8), torch.randn(2, 7, 12), torch.randn(2, 4, 8, 8)
    noisy, clean = (scorer(tokens, text, latents, torch.full((2,), signal)) for signal in (0.0, 1.0))
    assert noisy.shape == clean.shape == (2, 8, 8)
    other_latents, other_text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 12)
    assert torch.equal(scorer(tokens, text, other_latents, torch.zeros(2)), noisy), "without signal, latents say nothing"
    assert torch.equal(scorer(tokens, other_text, latents, torch.ones(2)), clean), "without noise, all is said by the latents"
    same = torch.randn(1, 1, 8).expand(2, 10, 8)
    torch.testing.assert_close(scorer(same, text, latents, torch.full((2,), 0.5)), same[:, :8])
    noisy.sum().backward()
    assert scorer.of_text.weight.grad is not None


def test_widths_that_do_not_meet_are_said() -> None:
    with pytest.raises(ValueError, match=r"grids \[\(2, 2\), \(4, 4\)\], expected one and the same"):
        SubjectEncoder([Pixels(8, 4), Pixels(8, 2)])
    with pytest.raises(ValueError, match="is no multiple of 34 heads"):
        SubjectProjector(100)
    with pytest.raises(ValueError, match="features have 12 channels, expected 60"):
        SubjectProjector(60, WIDTH, 16, 2)(Views(torch.zeros(1, 4, 12), torch.zeros(1, 16, 12)))
    with pytest.raises(ValueError, match="widths must meet"):
        Customiser(eyes(), SubjectProjector(60, WIDTH, 16, 2), VisualStream(WIDTH + 1, {}))
    with pytest.raises(ValueError, match="keep 0 is no share"):
        RelevanceScorer(8, 12, 4, keep=0)
    with pytest.raises(ValueError, match="reference pictures are uint8"):
        eyes()(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="multiples of the patch"):
        Pixels(10, 4)
