"""Toys that have learnt to answer yes or no, questions of POPE for them, and what their answers have to be."""
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from data.world import WORDS, Scenes
from eval.frame.benchmark import Item
from eval.frame.model import Model
from eval.pope import POPE
from mm.language import Fresh, WordLevel
from mm.masks import ImageBlock, Mask
from mm.models import VLM, Branches, Layout
from mm.positions import Positions, Restart
from mm.sample import Sample, Turn
from mm.streams import MLP
from mm.vision import ConvViT

CANDIDATES = ("yes", "no")


def made(mask: Mask, positions: Positions, layout: Layout, layers: int = 2) -> VLM:
    """A toy that has seen a few answers, so that it says yes, or no, and stops."""
    torch.manual_seed(0)
    vision = ConvViT(image_size=32, width=16, depth=1, heads=2)
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2}
    language = Fresh(config=config, tokenizer=WordLevel(words=list(WORDS)))
    vlm = VLM(vision, MLP(vision.width, language.width), language, mask=mask, positions=positions, layout=layout)
    optimiser = torch.optim.AdamW(vlm.parameters(), lr=1e-2)
    scenes = Scenes("train", 100, 0, questions=0)
    rows = []
    for i in range(4):
        asked = ("<image>is there a star ?", "is there a ring ?", "is there a moon ?")
        turns = tuple(Turn(question, CANDIDATES[k % 2]) for k, question in enumerate(asked))
        rows.append(vlm.processor.encode(Sample(str(i), scenes[i].media, turns)))
    batch = vlm.processor.collate(rows)
    for _ in range(8):
        logits, targets, _ = vlm(batch)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, targets).backward()
        optimiser.step()
    return vlm.eval()


def saved(folder: Path) -> Path:
    """A directory with a toy whose picture is shared between questions."""
    made(ImageBlock(), Restart(), Branches()).save(folder / "model")
    return folder


def questions() -> list[Item]:
    """Two about each of two pictures."""
    return [item for item in POPE(size=2, k=1).items() if item.split == "random"]


def alone(vlm: VLM, item: Item, candidate: str) -> float:
    """Log-probability of one candidate, in a row of its own."""
    row = vlm.processor.encode(Sample(item.id, item.media(), (Turn(item.question, candidate),)))
    with torch.no_grad():
        logits, targets, _ = vlm(vlm.processor.collate([row]))
    return float(logits.log_softmax(-1).gather(1, targets[:, None]).sum())


def holds(vlm: VLM, model: Model, items: Sequence[Item]) -> None:
    """Every answer of `model` is what `vlm` gives to that item alone."""
    for item, answer in zip(items, model.answer(items, 8), strict=True):
        assert answer.logp == pytest.approx({text: alone(vlm, item, text) for text in CANDIDATES}, abs=1e-4)
        assert answer.text == vlm.generate([Sample(item.id, item.media(), (Turn(item.question),))], max_new_tokens=8)[0]
