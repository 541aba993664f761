"""Rows that share their first keys attend to them together: exactly what each would alone, for unequal groups, grouped queries, rows that leave."""
import pytest
import torch

from data.world import WORDS, Scenes
from mm.attention import attend
from mm.attention.trunk import Trunk
from mm.language import Fresh, WordLevel
from mm.language.arguments import CACHE
from mm.masks import ImageBlock, Mask, SinkWindow
from mm.models import VLM
from mm.models.continuation import Trunks
from mm.models.trunk_cache import BehindTrunk
from mm.models.vlm_prompt import VLMPrompt
from mm.sample import Sample, Turn
from mm.streams import MLP
from mm.vision import ConvViT

QUESTIONS = ("is there a star ?", "describe the image .", "is there a red moon left of a blue ring ?", "is there a ring ?")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("padded", [False, True])
def test_attention_behind_a_trunk_is_attention_over_all_keys(padded: bool) -> None:
    owner = torch.tensor([1, 0, 1, 1, 2])
    keys, values = random(3, 2, 7, 8), random(3, 2, 7, 8, seed=1)
    real = torch.ones(3, 7, dtype=torch.bool)
    if padded:
        real[1, :3] = False
    q, k, v = random(5, 4, 3, 8, seed=2), random(5, 2, 4, 8, seed=3), random(5, 2, 4, 8, seed=4)
    trunk = Trunk(((keys, values),), real, owner)
    own = torch.tril(torch.ones(3, 4, dtype=torch.bool), 1).expand(5, 1, 3, 4)
    found = trunk.joined(0, q, attend(q, k, v, own, need_lse=True), None)
    mask = torch.cat([real[owner][:, None, None].expand(5, 1, 3, 7), own], -1)
    whole = attend(q, torch.cat([keys[owner], k], 2), torch.cat([values[owner], v], 2), mask).out
    torch.testing.assert_close(found, whole, atol=1e-12, rtol=0)
    rows = torch.tensor([4, 2, 0])
    fewer = trunk.selected(rows)
    assert len(fewer.real) == 2
    mine = attend(q[rows], k[rows], v[rows], own[rows], need_lse=True)
    torch.testing.assert_close(fewer.joined(0, q[rows], mine, None), whole[rows], atol=1e-12, rtol=0)


def toy(mask: Mask) -> VLM:
    torch.manual_seed(0)
    vision = ConvViT(image_size=32, width=16, depth=1, heads=2)
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "initializer_range": 0.3}
    language = Fresh(config=config, tokenizer=WordLevel(words=list(WORDS)))
    return VLM(vision, MLP(vision.width, language.width), language, mask=mask).eval()


def samples() -> list[Sample]:
    """Four questions about one picture, one about another, two about a third; pictures with two and one copies, so trunks differ in length."""
    scenes = Scenes("test", 10, 0, questions=0)
    media = [scenes[0].media, (*scenes[1].media, *scenes[3].media), scenes[2].media]
    asked = [(0, 0), (1, 0), (0, 1), (2, 1), (0, 2), (2, 0), (0, 3), (1, 2)]
    return [Sample(f"{i}/{k}", media[i], (Turn("<image>" * len(media[i]) + f"\n{QUESTIONS[k]}"),)) for i, k in asked]


@pytest.mark.parametrize(("mask", "shares"), [(ImageBlock(), True), (SinkWindow(sink=1, window=12), False)], ids=["block", "window"])
def test_rows_behind_a_trunk_go_on_as_if_alone(mask: Mask, shares: bool) -> None:
    vlm = toy(mask)
    asked = samples()
    together = VLMPrompt(vlm, asked).continuation()
    assert isinstance(together, Trunks)
    first = together.begin()
    assert all(isinstance(layer, BehindTrunk) for layer in together.inputs[CACHE].layers) is shares
    alone = [VLMPrompt(vlm, [sample]).continuation() for sample in asked]
    torch.testing.assert_close(first, torch.cat([each.begin() for each in alone]), atol=2e-5, rtol=1e-5)
    ids = first.argmax(-1)
    torch.testing.assert_close(together.step(ids), torch.cat([each.step(ids[i:i + 1]) for i, each in enumerate(alone)]), atol=2e-5, rtol=1e-5)
    rows = torch.tensor([5, 2, 7])
    together.select(rows)
    ids = torch.tensor([7, 8, 9])
    wanted = torch.cat([alone[row].step(ids[i:i + 1]) for i, row in enumerate(rows.tolist())])
    torch.testing.assert_close(together.step(ids), wanted, atol=2e-5, rtol=1e-5)
