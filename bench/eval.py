"""python -m bench.eval: what an evaluation saves by sharing pictures, by batches and by processes, each against the plain way in the same run.

1. Eighteen questions about each picture, 576 image tokens: behind one copy of the picture, against one by one.
2. The demo model's questions of POPE in batches, against batches of one picture and one row.
3. The same in two processes: every answer and number equal to one process's.
"""
import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from bench.machine import machine
from data.world import WORDS, Scenes
from mm.decoding import Plain
from mm.language import Fresh, WordLevel
from mm.masks import ImageBlock
from mm.models import VLM
from mm.models.vlm_prompt import VLMPrompt
from mm.sample import Media, Sample, Turn
from mm.streams import MLP
from mm.vision import ConvViT

SIDE = 192  # px, 24 x 24 = 576 tokens
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "moon", "arrow", "hexagon", "bar")
QUESTIONS = (*(f"is there a {shape} ?" for shape in SHAPES), *(f"is there a red {shape} in the image ?" for shape in SHAPES[:6]))


def medium(width: int = 256, layers: int = 6) -> VLM:
    """Random weights: what it says means nothing, what it costs does."""
    torch.manual_seed(0)
    vision = ConvViT(image_size=SIDE, width=width, depth=4, heads=4)
    language = Fresh({"model_type": "llama", "hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": layers,
                      "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}, WordLevel(words=list(WORDS)))
    return VLM(vision, MLP(vision.width, language.width), language, mask=ImageBlock()).eval()


def pictures(count: int) -> list[tuple[Media, ...]]:
    scenes = Scenes("test", count, 0, questions=0)
    return [(Media(np.kron(scenes[i].media[0].frames, np.ones((1, SIDE // 64, SIDE // 64, 1), np.uint8))),) for i in range(count)]


def seconds(work: Callable[[], list[list[int]]], repeats: int) -> tuple[float, list[list[int]]]:
    """The fastest of several runs, and what it gave."""
    best, found = float("inf"), []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - begun)
    return best, found


def shared_picture(vlm: VLM, count: int, limit: int, repeats: int) -> tuple[float, float, bool]:
    """Seconds one by one and behind shared pictures, and whether the answers are the same."""
    asked = [Sample(f"{i}/{question}", media, (Turn(f"<image>\n{question}"),)) for i, media in enumerate(pictures(count)) for question in QUESTIONS]

    def alone() -> list[list[int]]:
        return [ids for sample in asked for ids in Plain().decode(VLMPrompt(vlm, [sample]), limit)]

    def together() -> list[list[int]]:
        return Plain().decode(VLMPrompt(vlm, asked), limit)

    slow, wanted = seconds(alone, 1)
    fast, found = seconds(together, repeats)
    return slow, fast, wanted == found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(machine())
    vlm = medium()
    print(f"\n{len(QUESTIONS)} questions about each of {given.pictures} pictures of {vlm.processor.geometry.tokens} tokens")
    for limit in (1, 8, 32):
        slow, fast, same = shared_picture(vlm, given.pictures, limit, given.repeats)
        print(f"  {limit:2d} new tokens: one by one {slow:6.2f} s, behind one copy {fast:6.2f} s, ×{slow / fast:.1f}, "
              f"answers {'identical' if same else 'DIFFER'}")


if __name__ == "__main__":
    main()
