"""What composite attention saves in two passes: a decoder that reads 2,048 image tokens and a question, CPU time on one thread.

    python -m bench.two_pass

Time of `mm.language.two_pass` over that of the mask `mm.masks.Composite` in one pass (whose attention is cut into tiles where that is faster), and of
plain causal attention over the same; forward, and forward and backward.
"""
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

import mm
from bench.machine import machine
from bench.masks import backward, fastest
from mm.language import seam, two_pass
from mm.masks import Causal, Composite, Mask
from mm.tokens import Kind, Role, TokenMap

IMAGE, QUESTION = 2048, 64


def decoder() -> PreTrainedModel:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=8))
    seam.install(model)
    return model


def row() -> TokenMap:
    """An image and a question."""
    tokens = TokenMap.text(torch.ones(1, IMAGE + QUESTION))
    image = tokens.index < IMAGE
    return TokenMap(**tokens.__dict__ | {"kind": torch.where(image, int(Kind.VISION), tokens.kind), "media": torch.where(image, 0, -1),
                                         "role": torch.full_like(tokens.role, Role.QUESTION), "shown": None, "answered": None, "depth": None})


def trained(run: Callable[[], Any]) -> None:
    backward(run())


def main() -> None:
    torch.set_num_threads(1)
    model, tokens = decoder(), row()
    embeds = torch.randn(1, IMAGE + QUESTION, 256)

    def one(mask: Mask) -> Tensor:
        with mm.steer(model, mask=mask, tokens=tokens):
            return model.model(inputs_embeds=embeds, use_cache=True).last_hidden_state

    def two() -> Tensor:
        return two_pass(model, embeds, tokens, tokens.position)[0]

    runs: dict[str, Callable[[], Any]] = {"two passes": two, "composite": lambda: one(Composite()), "causal": lambda: one(Causal())}
    with torch.no_grad():
        forward = fastest({**runs})
    both = fastest({name: partial(trained, run) for name, run in runs.items()}, 3)
    print(machine())
    print(f"{IMAGE} image tokens and {QUESTION} of a question, 4 layers of width 256, float32: time over that of the mask in one pass")
    print("                 forward   fwd+bwd")
    for name in runs:
        print(f"{name:14s}   {forward[name] / forward['composite']:7.2f}   {both[name] / both['composite']:7.2f}   "
              f"({forward[name]:.2f} s, {both[name]:.2f} s)")


if __name__ == "__main__":
    main()
