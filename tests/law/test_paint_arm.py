"""PAINT as an arm of an evaluation: each picture's sets are found when it is read, whatever shares it, leaves the batch, or has none."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mm
from eval.frame.assembled import Assembled
from eval.frame.benchmark import Item
from mm.decoding import M3ID, VCD, Plain, spoken
from mm.language import Fresh, WordLevel
from mm.levers import pulled, read_lever, under
from mm.masks import ImageBlock
from mm.models import VLM, Branches, picture_sets
from mm.models.continuation import Trunks
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Restart
from mm.reweight import PAINT
from mm.sample import Sample, Turn
from mm.streams import MLP, Pool2d
from mm.vision import OpenCLIP, Timm, Transformers, VisionEncoder
from mm.vision.class_token import class_rows
from tests.processors import directory
from tests.vlms import CONFIG, WORDS, picture, toy

ARM = Path("configs/eval/study/paint.yaml")
SMALL = {"embed_dim": 16, "depth": 3, "num_heads": 2, "patch_size": 4}
TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
OPEN = {"embed_dim": 16, "vision_cfg": {"layers": 3, "width": 16, "head_width": 8, "patch_size": 4, "image_size": 16}}
ENCODERS: dict[str, Callable[[], VisionEncoder]] = {
    "timm": lambda: Timm("vit_tiny_patch16_224", 16, False, overrides=SMALL),
    "registers": lambda: Timm("vit_small_patch14_reg4_dinov2", 16, False, overrides=SMALL),
    "last but one": lambda: Timm("vit_tiny_patch16_224", 16, False, layer=-2, overrides=SMALL | {"depth": 4}),
    "open_clip": lambda: OpenCLIP(OPEN), "clip": lambda: Transformers({"model_type": "clip_vision_model", **TOWER})}
RULE = PAINT(local=3.0, summary=2.0, first_layer=0)


def painted(encoder: VisionEncoder, projector: type[MLP] | type[Pool2d] = MLP) -> VLM:
    torch.manual_seed(0)
    language = Fresh({"model_type": "llama", **CONFIG}, WordLevel(WORDS))
    vlm = VLM(encoder, projector(16, 32), language, mask=ImageBlock(), positions=Restart(), layout=Branches()).eval()
    with torch.no_grad():
        for parameter in vlm.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.4)
    return vlm


def samples(*pictures: int) -> list[Sample]:
    shown = {seed: (picture(seed),) for seed in pictures}
    questions = ("is there a star ?", "what do you see ?", "is there a red ring and a green circle ?")
    return [Sample(str(i), shown[seed], (Turn(f"<image>{questions[i % 3]}"),)) for i, seed in enumerate(pictures)]


def by_hand(vlm: VLM, sample: Sample) -> PAINT:
    return RULE.on(picture_sets(vlm, vlm.processor.prompt(sample).pixels))


# --- what encoders show


@pytest.mark.parametrize("name", ["timm", "registers"])
def test_rows_of_timm_are_those_of_its_own_weights(name: str) -> None:
    encoder = ENCODERS[name]()
    assert isinstance(encoder, Timm)
    seen = list[Tensor]()
    for block in encoder.model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, given, weights: seen.append(weights))
    pixels = torch.randn(2, 3, 16, 16)
    for found, wanted in zip(class_rows(encoder, pixels, (0, -2)), (seen[0], seen[-2]), strict=True):
        torch.testing.assert_close(found, wanted[:, :, :1], atol=1e-6, rtol=0)


def test_rows_of_open_clip_are_those_of_its_own_weights() -> None:
    encoder = ENCODERS["open_clip"]()
    seen, pixels = list[Tensor](), torch.randn(2, 3, 16, 16)

    def ask(module: nn.MultiheadAttention, args: tuple[Tensor, ...], kwargs: dict[str, object]) -> tuple[object, dict[str, object]]:
        return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

    for module in encoder.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_pre_hook(ask, with_kwargs=True)  # type: ignore[arg-type]
            module.register_forward_hook(lambda module, given, out: seen.append(out[1]))
    for found, wanted in zip(class_rows(encoder, pixels, (0, -2)), (seen[0], seen[-2]), strict=True):
        torch.testing.assert_close(found, wanted[:, :, :1], atol=1e-6, rtol=0)
    assert len(seen) == 3


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_with_a_class_token_has_sets_of_its_patches(name: str) -> None:
    vlm = painted(ENCODERS[name]())
    sets = picture_sets(vlm, torch.cat([vlm.processor.prompt(sample).pixels for sample in samples(0, 1)]))
    assert sets.shape == (2, 16)
    assert set(sets.unique().tolist()) <= {0, 1, 2}
    assert (sets > 0).any(1).all()


# --- what comes of it


@pytest.mark.parametrize("name", ENCODERS)
def test_questions_behind_shared_pictures_are_read_under_each_picture_s_sets(name: str) -> None:
    vlm, asked = painted(ENCODERS[name]()), samples(0, 0, 1, 1, 0)
    together = VLMPrompt(vlm, asked, rules=[RULE]).continuation()
    assert isinstance(together, Trunks)
    alone = [VLMPrompt(vlm, [sample], rules=[by_hand(vlm, sample)]).continuation() for sample in asked]
    torch.testing.assert_close(together.begin(), torch.cat([each.begin() for each in alone]), atol=2e-5, rtol=1e-4)
    rows = torch.tensor([4, 2, 1])
    together.select(rows)
    torch.testing.assert_close(together.step(rows), torch.cat([alone[i].step(rows[place:place + 1]) for place, i in enumerate(rows.tolist())]),
                               atol=2e-5, rtol=1e-4)
    plain = VLMPrompt(vlm, asked, rules=[]).continuation().begin()
    assert (plain - VLMPrompt(vlm, asked, rules=[RULE]).continuation().begin()).abs().max() > 1e-3


@pytest.mark.parametrize("decoding", [Plain(), VCD(), M3ID()], ids=lambda decoding: type(decoding).__name__)
def test_an_evaluation_answers_as_each_question_alone(decoding: Plain | VCD | M3ID) -> None:
    vlm = painted(ENCODERS["timm"]())
    items = [Item(str(i), f"p{i % 2}", lambda: (), f"<image>\n{question}", candidates=("yes", "no"))
             for i, question in enumerate(("is there a star ?", "what do you see ?", "is there a ring ?", "do you see a red circle ?"))]
    media = {f"p{i}": (picture(i),) for i in range(2)}
    way = None if isinstance(decoding, Plain) else decoding
    with mm.steer(vlm, reweight=[RULE]):
        together = Assembled(vlm, 4).answer(items, media, 6, way)
        alone = [Assembled(vlm, 1).answer([item], media, 6, way)[0] for item in items]
    plain = Assembled(vlm, 4).answer(items, media, 6, way)
    assert [each.text for each in together] == [each.text for each in alone]
    assert [each.logp for each in together] == [pytest.approx(each.logp, abs=1e-4) for each in alone]
    assert [each.logp for each in together] != [pytest.approx(each.logp, abs=1e-3) for each in plain]


def test_a_model_of_parts_needs_no_sets_by_hand() -> None:
    vlm, asked = painted(ENCODERS["timm"]()), samples(0, 1, 1)
    with mm.steer(vlm, reweight=[RULE]):
        logits, said = vlm.next_token_logits(asked), vlm.generate(asked, 5)
    for sample, own, text in zip(asked, logits, said, strict=True):
        with mm.steer(vlm, reweight=[by_hand(vlm, sample)]):
            torch.testing.assert_close(vlm.next_token_logits([sample])[0], own, atol=2e-5, rtol=1e-4)
            assert vlm.generate([sample], 5) == [text]


def test_a_pretrained_model_needs_none_either(tmp_path: Path) -> None:
    vlm = PretrainedVLM.load(directory("llava", tmp_path))
    questions = ("Is there a star ?", "What do you see ?", "Is there a ring ?")
    shown = (picture(0, size=(8, 8)),), (picture(1, size=(8, 8)),)
    asked = [Sample(str(i), shown[i // 2], (Turn(f"<image>\n{question}"),)) for i, question in enumerate(questions)]
    sets = [picture_sets(vlm.model, vlm.inputs([sample])["pixel_values"]) for sample in asked]
    with mm.steer(vlm.model, reweight=[RULE]):
        together = PretrainedPrompt(vlm, asked).continuation()
        assert isinstance(together, Trunks)
        found, ids = together.begin(), spoken(PretrainedPrompt(vlm, asked).continuation(), vlm.stop_ids, 6)
        said = vlm.generate(asked, max_new_tokens=6)
    for place, (sample, own) in enumerate(zip(asked, sets, strict=True)):
        with mm.steer(vlm.model, reweight=[RULE.on(own)]):
            alone = PretrainedPrompt(vlm, [sample]).continuation()
            torch.testing.assert_close(found[place], alone.begin()[0], atol=5e-4, rtol=1e-4)
            assert vlm.generate([sample], max_new_tokens=6) == [said[place]] == vlm.text_of([ids[place].ids])


@pytest.mark.parametrize(("make", "reason"), [
    (lambda: toy(), "ConvViT has no class token"),
    (lambda: painted(Timm("convnext_atto", 32, False, overrides={"dims": [8, 8, 8, 16], "depths": [1, 1, 1, 1]})),
     r"Timm\('convnext_atto'\) has no class token"),
    (lambda: painted(ENCODERS["timm"](), Pool2d), "Pool2d makes 4 tokens of 16 patches")], ids=["parts", "convolutions", "pooled"])
def test_a_model_whose_tokens_are_no_patches_that_a_class_token_sees_refuses_the_arm(make: Callable[[], VLM], reason: str) -> None:
    vlm = make()
    with pytest.raises(ValueError, match=reason), under(vlm, pulled(read_lever(ARM))):
        Assembled(vlm, 2).answer([Item("1", "p", lambda: (), "<image>\nis there a star ?")], {"p": (picture(0),)}, 2, None)
