"""python -m bench.eval: what an evaluation saves by sharing pictures, by batches and by processes, each against the plain way in the same run.

1. Eighteen questions about each picture, 576 image tokens: behind one copy of the picture, against one by one.
2. The demo model's questions of POPE in batches, against batches of one picture and one row.
3. The same in two processes: every answer and number equal to one process's.
"""
import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from bench.machine import machine
from data.world import WORDS, Scenes
from eval.chair import CHAIR
from eval.frame.batches import batched as batches_of
from eval.frame.batches import limited
from eval.frame.benchmark import Benchmark
from eval.frame.model import Model
from eval.pope import POPE
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


def batched(directory: Path, benchmark: Benchmark, limit: int) -> None:
    """The same answers question by question, picture by picture, and 16 pictures at a time."""
    items = limited(benchmark.items(), limit)
    model = Model(str(directory))
    ways = {"question by question": [[item] for batch in batches_of(items, 1) for item in batch], "picture by picture": batches_of(items, 1),
            "16 pictures at a time": batches_of(items, 16)}
    first: tuple[float, dict[str, str]] | None = None
    for name, batches in ways.items():
        model.speaker.rows = max(len({item.picture for item in batch}) for batch in batches)
        begun = time.perf_counter()
        texts = {item.id: answer.text for batch in batches for item, answer in zip(batch, model.answer(batch, benchmark.max_new_tokens), strict=True)}
        taken = time.perf_counter() - begun
        first = first or (taken, texts)
        same = sum(texts[id] == text for id, text in first[1].items())
        print(f"  {name:<22} {taken:6.2f} s, ×{first[0] / taken:.1f}, {same} of {len(texts)} answers the same")


def processes(directory: Path, limit: int) -> None:
    """The command as users run it, in one process and in two."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["pope", "chair", "--model", str(directory), "--limit", str(limit), "--out"]
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--log-dir", f"{folder}/log", "-m", "eval"]
        for name, command in (("1", ["-m", "eval"]), ("2", launcher)):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *command, *arguments, f"{folder}/{name}"], check=True, stdout=subprocess.DEVNULL)
            print(f"  {name} process{'es' * (name == '2')}: {time.perf_counter() - begun:.1f} s, start included")
        same = subprocess.run([sys.executable, "-m", "eval.frame.same", f"{folder}/1", f"{folder}/2"], capture_output=True, text=True)
        print(f"  {(same.stdout + same.stderr).strip()}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a model of the demo, for the second and third table")
    parser.add_argument("--limit", type=int, default=100, help="pictures of each split that it is asked about (default: %(default)s)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(machine())
    vlm = medium()
    print(f"\n{len(QUESTIONS)} questions about each of {given.pictures} pictures of {vlm.processor.geometry.tokens} tokens")
    for limit in (1, 8, 32):
        slow, fast, same = shared_picture(vlm, given.pictures, limit, given.repeats)
        print(f"  {limit:2d} new tokens: one by one {slow:6.2f} s, behind one copy {fast:6.2f} s, ×{slow / fast:.1f}, "
              f"answers {'identical' if same else 'DIFFER'}")
    if given.model is None:
        print("\nwithout --model, batches and processes are not measured")
        return
    for name, benchmark in (("POPE", POPE(size=given.limit)), ("CHAIR", CHAIR(size=given.limit))):
        print(f"\n{name} on {given.model.name}, {given.limit} pictures")
        batched(given.model, benchmark, given.limit)
    print("\none process and two")
    processes(given.model, given.limit)


if __name__ == "__main__":
    main()
