"""What contrast decoding costs: CPU time of one thread, passes and memory over those of plain decoding.

    python -m bench.decoding

A mm.VLM with fresh weights: CLIP of 2 layers, 336 x 336 pixels in 576 tokens; a Llama of 8 layers and 8 heads, 512 wide, float32; one question about
one picture. Passes: of the language model over one row, by answer token, the prompt's included, but not the one in which AGLA looks. Steps of all
methods take turns, each on a cache of its own; the figure is the median over steps of its time over the plain step's in the same turn. First token:
everything up to its logits, the least of three. Memory: resident, of reading the prompt and four tokens, at its peak beyond the model, the least of
three.
"""
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from bench.machine import machine
from bench.masks import fastest, peak
from data.world import WORDS
from mm.decoding import AGLA, ICD, M3ID, ONLY, VCD, LeverContrast, PAIGuidance, Plain, Stepwise
from mm.language import Fresh, WordLevel
from mm.models import VLM
from mm.models.continuation import Continuation
from mm.models.vlm_prompt import VLMPrompt
from mm.reweight import PAI
from mm.sample import Media, Sample, Turn
from mm.streams import MLP
from mm.vision import Transformers

STEPS = 32
METHODS: dict[str, Stepwise] = {
    "plain": Plain(), "VCD": VCD(), "ICD": ICD(disturbance="describe the image ."), "PAI guidance": PAIGuidance(), "M3ID": M3ID(), "AGLA": AGLA(),
    "ONLY": ONLY(), "levers (PAI)": LeverContrast([PAI(first_layer=2)])}


def toy() -> VLM:
    torch.manual_seed(0)
    vision = Transformers({"model_type": "clip_vision_model", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
                           "num_attention_heads": 2, "image_size": 336, "patch_size": 14})
    language = Fresh(config={"model_type": "llama", "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8},
                     tokenizer=WordLevel(words=list(WORDS)))
    return VLM(vision, MLP(vision.width, language.width), language).eval()


def begun(method: Stepwise, prompt: VLMPrompt) -> Continuation:
    continuation = method.continuation(prompt)
    continuation.begin()
    return continuation


def first(method: Stepwise, prompt: VLMPrompt, steps: int = 0) -> Callable[[], None]:
    def run() -> None:
        continuation = begun(method, prompt)
        for _ in range(steps):
            continuation.step(torch.tensor([1]))

    return run


def timed(continuation: Continuation) -> float:
    start = time.process_time()
    continuation.step(torch.tensor([1]))
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    picture = np.random.default_rng(0).integers(0, 256, (1, 336, 336, 3), dtype=np.uint8)
    prompt = VLMPrompt(toy(), [Sample("0", (Media(picture),), (Turn("<image>\nis there a red star left of a blue ring ?"),))])
    firsts = fastest({name: first(method, prompt) for name, method in METHODS.items()}, 3)
    memory = {name: min(peak(first(method, prompt, steps=4)) for _ in range(3)) for name, method in METHODS.items()}
    going = {name: begun(method, prompt) for name, method in METHODS.items()}
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(STEPS):
        for name, continuation in going.items():
            times[name].append(timed(continuation))
    print(f"plain: first token {firsts['plain']:.2f} s, a token {1000 * median(times['plain']):.1f} ms, {memory['plain']:.0f} MiB")
    print(f"{'method':14s}  passes a token  first token  a token  memory")
    for name, continuation in going.items():
        ratio = median(mine / plain for mine, plain in zip(times[name], times["plain"], strict=True))
        print(f"{name:14s}  {continuation.forwards / (STEPS + 1):14.2f}  {firsts[name] / firsts['plain']:11.2f}  {ratio:7.2f}  "
              f"{memory[name] / memory['plain']:6.2f}", flush=True)


if __name__ == "__main__":
    main()
