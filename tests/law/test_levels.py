"""Further layers of an encoder: each is what an encoder that ends there gives, or is refused with the reason."""
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mm.keep import VMTC
from mm.models import VLM
from mm.vision import ConvViT, OpenCLIP, Timm, Transformers, VisionEncoder
from tests.projectors import TwoLayers
from tests.vlms import about, toy

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
OVERRIDES = {"layers": 4, "width": 64, "patch_size": 16}

ENCODERS: dict[str, Callable[..., VisionEncoder]] = {
    "timm": partial(Timm, "test_vit", image_size=32, pretrained=False, overrides={"depth": 4}),
    "open_clip": partial(OpenCLIP, "ViT-B-32", image_size=32, overrides=OVERRIDES),
    "clip": partial(Transformers, {"model_type": "clip_vision_model", **TOWER}),
    "siglip": partial(Transformers, {"model_type": "siglip_vision_model", **TOWER}),
    "dinov2": partial(Transformers, {"model_type": "dinov2_with_registers", **TOWER}),
}


def pixels(encoder: VisionEncoder) -> Tensor:
    return torch.randint(0, 256, (2, 3, *encoder.image_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("layer", "levels"), [(-1, (-3, -2, -1)), (-2, (-2, -3)), (-1, (-2, -2)), (-1, ())], ids=str)
def test_a_layer_is_what_an_encoder_that_ends_there_gives(name: str, layer: int, levels: Sequence[int]) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name](layer=-1).eval()
    shake(encoder)

    def ending(at: int) -> VisionEncoder:
        other = ENCODERS[name](layer=at).eval()
        other.load_state_dict({key: encoder.state_dict()[key] for key in other.state_dict()})
        return other

    x = pixels(encoder)
    wanted = torch.cat([ending(at)(x) for at in (layer, *levels)], -1)
    torch.testing.assert_close(ending(layer)(x, levels), wanted, rtol=0, atol=1e-5)


def shake(module: nn.Module) -> None:
    """Norms that do something."""
    for parameter in module.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)


@torch.no_grad()
def test_our_own_encoder_s_layers_are_its_blocks() -> None:
    torch.manual_seed(0)
    encoder = ConvViT(image_size=16, width=16, depth=3, heads=2).eval()
    x = pixels(encoder)
    blocks: list[Tensor] = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda module, args, out: blocks.append(out))
    last, second, first, again = encoder(x, (-2, -3, -1)).chunk(4, -1)
    assert torch.equal(last, encoder.norm(blocks[2]))
    assert torch.equal(again, last)
    assert torch.equal(second, blocks[1])
    assert torch.equal(first, blocks[0])
    assert torch.equal(encoder(x), last)


class Blind(VisionEncoder):
    """An encoder that knows of no layers."""

    def __init__(self) -> None:
        super().__init__()
        self.geometry(4, (8, 8), (1, 1), (0.5,) * 3, (0.5,) * 3)

    def features(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True).expand(-1, 4, -1, -1)[:, :4].reshape(len(x), 1, 4)


@pytest.mark.parametrize(("encoder", "level", "reason"), [
    (Blind, -1, "Blind cannot give the features of layer -1 beside its last ones: it has no features but its last"),
    (partial(ConvViT, image_size=16, width=16, depth=2, heads=2), -3, "its layers are -2 to -1"),
    (partial(ConvViT, image_size=16, width=16, depth=2, heads=2), 0, "its layers are -2 to -1"),
    (partial(ENCODERS["timm"], layer=-2), -1, "it has the layers -4 to -2; later ones were dropped"),
    (ENCODERS["timm"], -5, "it has the layers -4 to -1"),
    (partial(Timm, "test_convnext", image_size=64, pretrained=False), -2, "there test_convnext has"),
    (partial(ENCODERS["open_clip"], layer=-2), -1, "it has the layers -4 to -2; later ones were dropped"),
    (ENCODERS["open_clip"], -5, "it has the layers -4 to -1"),
    (ENCODERS["clip"], -5, "its hidden states are -4 to -1"),
])
def test_a_layer_that_cannot_be_had_is_refused_with_the_reason(encoder: Callable[[], VisionEncoder], level: int, reason: str) -> None:
    built = encoder()
    with pytest.raises(ValueError, match=re.escape(reason)):
        built.check([level])
    with pytest.raises(ValueError, match=re.escape(reason)):
        built(pixels(built), [level])


def test_a_tower_that_is_not_open_clip_s_own_is_refused() -> None:
    config = {"embed_dim": 16, "vision_cfg": {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear",
                                              "image_size": 32}}
    encoder = OpenCLIP(config)
    with pytest.raises(ValueError, match=r"its tower is a TimmModel, not open_clip's own transformer; use mm.vision.Timm"):
        encoder.check([-2])


def test_a_model_is_not_built_on_layers_that_its_encoder_lacks() -> None:
    with pytest.raises(ValueError, match=r"ConvViT cannot give the features of layer -2 .* its layers are -1 to -1"):
        toy(projector=TwoLayers)


def test_what_is_kept_is_kept_of_all_layers() -> None:
    keep = VMTC(kept=5, merged=2)
    vlm: VLM = toy(projector=TwoLayers, image_size=32, depth=2, keep=keep)
    batch = vlm.processor.collate([vlm.processor.encode(about(0))])
    seen: list[Any] = []
    vlm.projector.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    vlm.embed(batch)
    wide = vlm.vision(batch.pixels, (-2,))
    assert wide.shape == (1, 16, 32)
    assert torch.equal(seen[0], keep(wide, (4, 4)))
    kept = seen[0][0, :5]
    assert [(wide[0] == feature).all(-1).sum().item() for feature in kept] == [1] * 5  # whole features, both layers of one place
    assert torch.isfinite(seen[0]).all()
