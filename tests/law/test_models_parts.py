"""Encoders, projectors and decoders are those of their libraries, cut where the assembly joins them."""
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, CLIPVisionModel, LlamaConfig

from mm.language import Fresh, Pretrained, WordLevel
from mm.models import VLM
from mm.parts import build, describe
from mm.streams import MLP, Linear
from mm.vision import CenterCrop, ConvViT, OpenCLIP, PadToSquare, Squash, Timm, Transformers, VisionEncoder
from tests.vlms import CONFIG, WORDS, about

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}


def frames(size: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (pixels / 255 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def check(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)


@torch.no_grad()
def test_a_timm_transformer_gives_its_normalised_patches() -> None:
    ours = Timm("test_vit", image_size=32, pretrained=False).eval()
    plain = timm.create_model("test_vit", img_size=32).eval()
    plain.load_state_dict(ours.model.state_dict(), strict=False)
    pixels = frames(32)
    wanted = plain.forward_features(normalised(pixels, plain.pretrained_cfg["mean"], plain.pretrained_cfg["std"]))
    check(ours(pixels), wanted[:, plain.num_prefix_tokens:])


@torch.no_grad()
def test_the_last_but_one_layer_is_what_llava_takes() -> None:
    ours = Transformers({"model_type": "clip_vision_model", **TOWER}, layer=-2).eval()
    plain = CLIPVisionModel(ours.model.config).eval()
    plain.load_state_dict(ours.model.state_dict())
    pixels = frames(32)
    hidden = plain(pixel_values=normalised(pixels, tuple(ours.mean), tuple(ours.std)), output_hidden_states=True).hidden_states
    check(ours(pixels), hidden[-2][:, 1:])
    assert ours.grid == (4, 4)


@torch.no_grad()
def test_a_tower_with_batch_norms_learns_nothing_while_it_is_built() -> None:
    visual = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}
    state = OpenCLIP({"embed_dim": 16, "vision_cfg": visual}).state_dict()
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    assert len(means) > 10
    assert not any(value.any() for value in means)


@pytest.mark.parametrize("layer", [0, 2, -9])
def test_layers_are_counted_from_the_end(layer: int) -> None:
    with pytest.raises(ValueError, match=f"its hidden states are -4 to -1; got layer={layer}"):
        Transformers({"model_type": "clip_vision_model", **TOWER}, layer=layer)
    with pytest.raises(ValueError, match=f"counted from the end, -1 to -2; got layer={layer}"):
        OpenCLIP("ViT-B-32", image_size=32, layer=layer, overrides={"layers": 2, "width": 64, "patch_size": 16})


@pytest.mark.parametrize("layer", [-1, -2])
def test_an_open_clip_tower_gives_its_patches(layer: int) -> None:
    overrides = {"layers": 2, "width": 64, "patch_size": 16}
    ours = OpenCLIP("ViT-B-32", image_size=32, layer=layer, overrides=overrides).eval()
    tower = {**open_clip.get_model_config("ViT-B-32")["vision_cfg"], **overrides, "image_size": 32}
    plain = open_clip.create_model("ViT-B-32", vision_cfg=tower, text_cfg={"layers": 1, "width": 8, "heads": 1}).visual.eval()
    plain.load_state_dict(ours.visual.state_dict(), strict=False)
    pixels = frames(32)
    x = plain.patch_dropout(plain._embeds(normalised(pixels, plain.image_mean, plain.image_std)))
    for block in plain.transformer.resblocks[:3 + layer]:
        x = block(x)
    assert ours.grid == (2, 2)
    check(ours(pixels), (plain.ln_post(x) if layer == -1 else x)[:, 1:])
    again = build(describe(ours, offline=True))
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again.eval()(pixels), ours(pixels))


@pytest.mark.parametrize("encoder", [
    lambda: Timm("test_resnet", image_size=72, pretrained=False), lambda: Timm("test_convnext", image_size=64, pretrained=False, layer=-2),
    lambda: ConvViT(image_size=(16, 24), width=16, depth=1, heads=2),
    lambda: Transformers({"model_type": "dinov2_with_registers", **TOWER}),
], ids=["odd", "stage", "oblong", "registers"])
def test_the_announced_grid_is_the_real_one(encoder: type[VisionEncoder]) -> None:
    model = encoder()
    features = model(torch.zeros(1, 3, *model.image_size, dtype=torch.uint8))
    assert features.shape == (1, model.grid[0] * model.grid[1], model.width)
    with pytest.raises(ValueError, match="let the processor resize them"):
        model(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_features_stand_row_by_row() -> None:
    """Each place answers most to pixels in its reach, 7 on each side of its corner, whatever the norms of the stem let through to the others."""
    torch.manual_seed(0)
    model = ConvViT(image_size=(32, 48), width=16, depth=0, heads=2)
    x = torch.randn(1, 3, 32, 48, requires_grad=True)
    features, along = model.features(x)[0], torch.randn(16)
    for place in range(24):
        (grad,) = torch.autograd.grad(features[place] @ along, x, retain_graph=True)
        row, col = divmod(int(grad.abs().sum(1).argmax()), 48)
        assert abs(row - 8 * (place // 6)) <= 7
        assert abs(col - 8 * (place % 6)) <= 7


@pytest.mark.parametrize("policy", [Squash(), PadToSquare(), CenterCrop()], ids=lambda policy: type(policy).__name__)
def test_every_policy_fits_every_picture(policy: Squash) -> None:
    for height, width in ((1, 1), (3, 900), (900, 3), (40, 60), (32, 32)):
        picture = np.full((1, height, width, 3), 77, dtype=np.uint8)
        assert policy(picture, (32, 32)).shape == (1, 3, 32, 32)
    same = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(policy(same, (32, 32)).permute(0, 2, 3, 1).numpy(), same)


def test_policies_keep_what_they_say() -> None:
    picture = np.zeros((1, 20, 40, 3), dtype=np.uint8)
    picture[:, :, :10], picture[:, :, 30:] = 255, 255  # both ends are white
    assert CenterCrop()(picture, (20, 20)).max() == 0
    padded = PadToSquare((9, 9, 9))(picture, (40, 40))[0, 0]
    assert padded[:10].unique().tolist() == padded[30:].unique().tolist() == [9]
    assert padded[20, 0] == 255
    assert Squash()(picture, (20, 20))[0, 0, 10, 0] == 255


def test_the_projector_of_llava_fits() -> None:
    llava = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 8))
    ours = MLP(6, 8)
    ours.layers.load_state_dict(llava.state_dict())
    x = torch.randn(2, 4, 6)
    assert torch.equal(ours(x, (2, 2)), llava(x))
    assert (MLP(6, 8, depth=1).layers[0].weight.shape, len(MLP(6, 8, depth=3).layers)) == ((8, 6), 5)
    with pytest.raises(ValueError, match="depth counts linear maps"):
        MLP(6, 8, depth=0)


@pytest.mark.parametrize("projector", [Linear(6, 8), MLP(6, 8)], ids=["linear", "mlp"])
def test_a_projector_announces_its_tokens_and_treats_frames_alone(projector: MLP) -> None:
    x = torch.randn(3, 6, 6)
    out = projector(x, (2, 3))
    assert out.shape == (3, projector.num_tokens((2, 3)), 8)
    assert projector.out_grid((2, 3)) == (2, 3)
    torch.testing.assert_close(projector(x.flip(0), (2, 3)).flip(0), out, rtol=0, atol=1e-6)


# --- decoders by name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained decoder on disk."""
    path = tmp_path_factory.mktemp("tiny")
    tokenizer = WordLevel(WORDS).load()
    model = AutoModelForCausalLM.from_config(LlamaConfig(**CONFIG, vocab_size=24, pad_token_id=0, eos_token_id=1))
    model.generation_config.temperature, model.generation_config.do_sample, model.generation_config.repetition_penalty = 0.3, True, 5.0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_a_decoder_in_a_folder_keeps_its_weights_through_the_assembly(folder: Path, tmp_path: Path) -> None:
    vision = ConvViT(image_size=16, width=16, depth=1, heads=2)
    vlm = VLM(vision, MLP(16, 32), Pretrained(str(folder), dtype="bfloat16"))
    wanted = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in vlm.language.model.state_dict().items())
    vlm.save(tmp_path)
    loaded = VLM.load(tmp_path)
    assert type(loaded.language) is Fresh
    assert loaded.language.model.dtype == torch.bfloat16
    assert loaded.generate([about(1)], max_new_tokens=3) == vlm.generate([about(1)], max_new_tokens=3)


def test_a_checkpoints_own_generation_settings_do_not_leak_in(folder: Path) -> None:
    vlm = VLM(ConvViT(image_size=16, width=16, depth=1, heads=2), MLP(16, 32), Pretrained(str(folder)))
    plain = VLM(vlm.vision, vlm.projector, Fresh({"model_type": "llama", **CONFIG}, WordLevel(WORDS)))
    plain.load_state_dict(vlm.state_dict())
    assert vlm.generate([about(1)], max_new_tokens=12) == plain.generate([about(1)], max_new_tokens=12)


def test_a_name_that_is_not_on_disk_is_one_sentence(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="no tokenizer at 'nobody/nothing'"):
        Pretrained("nobody/nothing")
    with pytest.raises(ValueError, match="no vision model 'nobody/nothing'"):
        Transformers("nobody/nothing")
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no language model .*folder that holds config.json and model.safetensors"):
        Pretrained(str(tmp_path))


@pytest.mark.parametrize(("config", "message"), [
    ({"model_type": "lama"}, "no model_type 'lama'; near names: llama"),
    ({"model_type": "llama", **CONFIG, "vocab_size": 5}, "vocab_size is 5, and the tokenizer has ids up to 23; leave vocab_size out"),
    ({"model_type": "gemma2", **CONFIG}, "soft-caps attention scores"),
])
def test_a_decoder_that_cannot_be_built_says_why(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fresh(config, WordLevel(WORDS))


def test_an_unknown_encoder_names_its_neighbours() -> None:
    with pytest.raises(ValueError, match=r"near names: .*vit_tiny"):
        Timm("vit_tiny_patch16_225", pretrained=False)
    with pytest.raises(ValueError, match=r"near names: .*ViT-B-32"):
        OpenCLIP("ViT-B-33")
