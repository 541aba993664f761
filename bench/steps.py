"""What levers cost a decoding step of a whole decoder: CPU time of one thread over that of the plain model.

    python -m bench.steps

A Llama of 8 layers and 8 heads over 4 key heads, 512 wide, float32, behind prompts of 2k and 4k tokens with an image of 576 (24 x 24). The steps of
all levers take turns, each on a cache of its own; the figure is the median over steps of its time over the plain step's in the same turn.
"""
import time
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

import mm
from bench.machine import machine
from mm.attention.session import HOME
from mm.language.arguments import CACHE, cache_among
from mm.masks import Composite, ImageBlock, ModalityMutual, PositionCausal, SinkWindow
from mm.positions import Concentric
from mm.reweight import ACT, CMAI, DARA, PAI, VAR, ZeroTuning
from mm.tokens import Kind, Role, TokenMap

IMAGE = slice(35, 611)
LENGTHS = (2048, 4096)
STEPS = 24


def prompt(length: int) -> TokenMap:
    """35 tokens of text, an image of 24 x 24, a question to the end."""
    text = TokenMap.text(torch.ones(1, length))
    tables: dict[str, Any] = {name: getattr(text, name).clone() for name in ("kind", "media", "frame", "row", "col", "role", "turn")}
    tables["kind"][:, IMAGE], tables["media"][:, IMAGE], tables["frame"][:, IMAGE] = int(Kind.VISION), 0, 0
    place = torch.arange(576)
    tables["row"][:, IMAGE], tables["col"][:, IMAGE] = place // 24, place % 24
    tables["role"][:, :35], tables["turn"][:, :35] = int(Role.SYSTEM), -1
    return TokenMap(tables["kind"], text.document, text.branch, tables["media"], tables["frame"], tables["row"], tables["col"], tables["role"],
                    tables["turn"], text.position, text.index)


def levers() -> dict[str, dict[str, Any]]:
    dara = DARA(images=1, heads=8)
    torch.nn.init.constant_(dara.factor, 1.1)  # type: ignore[arg-type]
    var = VAR(range(64), threshold=2.6, max_sink_share=0.9, min_image_mass=0.01)
    return {
        "image block": {"mask": ImageBlock()}, "modality-mutual": {"mask": ModalityMutual()}, "composite": {"mask": Composite()},
        "CCA": {"mask": PositionCausal(), "positions": Concentric()}, "sink and window": {"mask": SinkWindow(64, 256)},
        "VAR": {"reweight": [var]}, "ACT": {"reweight": [ACT(threshold=0.001)]}, "ZeroTuning": {"reweight": [ZeroTuning(1.5)]},
        "DARA": {"reweight": [dara]}, "PAI": {"reweight": [PAI()]}, "CMAI": {"reweight": [CMAI()]},
        "VAR and CCA": {"mask": PositionCausal(), "positions": Concentric(), "reweight": [var]}}


def decoder() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=1024, hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
                         max_position_embeddings=16384)
    return LlamaForCausalLM(config).eval()


def read(model: PreTrainedModel, ids: torch.Tensor) -> Any:
    """The cache of a prompt; logits are made of its last token alone."""
    return cache_among(model(input_ids=ids, use_cache=True, logits_to_keep=1))


def step(model: PreTrainedModel, cache: Any) -> float:
    start = time.process_time()
    model(input_ids=torch.ones(1, 1, dtype=torch.long), **{CACHE: cache})
    return time.process_time() - start


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    model = decoder()
    print(f"{'lever':18s}" + "".join(f"  {f'{length} tokens':>12s}" for length in LENGTHS))
    figures: dict[str, list[float]] = {name: [] for name in levers()}
    for length in LENGTHS:
        ids, tokens = torch.randint(2, 1024, (1, length)), prompt(length)
        caches = {"plain": read(model, ids)}
        for name, lever in levers().items():
            with mm.steer(model, tokens=tokens, **lever):
                caches[name] = read(model, ids)
        times: dict[str, list[float]] = {name: [] for name in caches}
        for _ in range(STEPS):
            times["plain"].append(step(model, caches["plain"]))
            for name in figures:
                session = getattr(caches[name], HOME)
                plan = session.plan
                with mm.steer(model, mask=plan.mask, positions=plan.positions, reweight=plan.rules, tokens=plan.tokens):
                    times[name].append(step(model, caches[name]))
        for name, found in figures.items():
            found.append(median(mine / plain for mine, plain in zip(times[name], times["plain"], strict=True)))
    for name, found in figures.items():
        print(f"{name:18s}" + "".join(f"  {figure:12.2f}" for figure in found), flush=True)


if __name__ == "__main__":
    main()
