"""Attention by hand, for tests: weights written out, changed as a method's text says, one unpadded sample, no cache, nothing of mm in it."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

Change = Callable[[int, Tensor], Tensor]  # (layer, weights [H, N, N]) → weights


class Dense:
    """visible: bool [N, N]. change: what a rule makes of the weights. scores: what a rule makes of the scores before the softmax."""

    def __init__(self, visible: Tensor, change: Change | None = None, scores: Change | None = None) -> None:
        self.visible, self.change, self.scores = visible, change or (lambda layer, weights: weights), scores or (lambda layer, scores: scores)

    def __call__(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Any, scaling: float | None = None, **_: Any) -> tuple[Tensor, None]:
        layer, times = int(module.layer_idx), q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(times, 1)[0], v.repeat_interleave(times, 1)[0]
        n = k.shape[1]
        scores = self.scores(layer, q[0] @ k.transpose(1, 2) * scaling).masked_fill(~self.visible[:n, :n], -torch.inf)
        return (self.change(layer, scores.softmax(-1)) @ v).transpose(0, 1)[None], None


@contextmanager
def by_hand(model: PreTrainedModel, dense: Dense) -> Iterator[None]:
    """The decoder of `model` computes attention as `dense` does."""
    AttentionInterface.register("by_hand", dense)
    AttentionMaskInterface.register("by_hand", lambda **_: None)
    text = model.config.get_text_config()
    part = next((key for key in model.config.sub_configs if getattr(model.config, key, None) is text), None)
    before = text._attn_implementation
    model.set_attn_implementation({part: "by_hand"} if part else "by_hand")
    try:
        yield
    finally:
        model.set_attn_implementation({part: before} if part else before)


def grown(inputs: dict[str, Any], ids: Tensor) -> dict[str, Any]:
    """The inputs of one sample with `ids` decoded behind them."""
    more = {name: torch.nn.functional.pad(inputs[name], (0, len(ids)), value=fill)
            for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0), ("token_type_ids", 0)) if name in inputs}
    return inputs | more | {"input_ids": torch.cat([inputs["input_ids"], ids[None]], 1)}


# --- who sees whom, and what rules do


def causal(n: int) -> Tensor:
    return torch.ones(n, n).tril().bool()


def mutual(image: Tensor, n: int) -> Tensor:
    """Image tokens also read the text of the prompt that follows them."""
    visible = causal(n)
    for q in image.nonzero().flatten().tolist():
        visible[q, :len(image)] |= ~image & (torch.arange(len(image)) > q)
    return visible


def blocks(image: Tensor, n: int) -> Tensor:
    """Each run of image tokens sees itself. (A tile of Idefics is a run.)"""
    visible, run = causal(n), (image.long().diff(prepend=torch.zeros(1, dtype=torch.long)) == 1).cumsum(0) * image
    same = (run[:, None] == run[None]) & (run[:, None] > 0)
    visible[:len(image), :len(image)] |= same
    return visible


def apart(image: Tensor, n: int) -> Tensor:
    """Image tokens see themselves only."""
    visible = causal(n)
    for q in image.nonzero().flatten().tolist():
        visible[q] = torch.arange(n) == q
    return visible


def pai(image: Tensor, alpha: float) -> Any:
    def scores(layer: int, s: Tensor) -> Tensor:
        out, places = s.clone(), torch.nn.functional.pad(image, (0, s.shape[-1] - len(image)))
        for row in range(len(image) - 1, s.shape[1]):  # the last prompt token and every decoded one
            out[:, row, places] += alpha * s[:, row, places].abs()
        return out

    return scores


def var(sinks: dict[int, Tensor], image: Tensor, prompt: int, keep: float, share: float, least: float) -> Change:
    """VAR over the weights of one sample, row by row: rows of text behind an image. sinks: layer → bool [prompt]; image: bool [prompt]."""

    def change(layer: int, weights: Tensor) -> Tensor:
        sink = sinks.get(layer)
        if sink is None or not (sink & image).any():
            return weights
        n = weights.shape[-1]
        s, i = (torch.nn.functional.pad(table, (0, n - prompt)) for table in (sink, image))
        out = weights.clone()
        for h in range(weights.shape[0]):
            for row in range(n):
                a, seen = weights[h, row], i[:row + 1].sum()
                mass, sunk = a[i].sum(), a[i & s].sum()
                if not i[row] and (i & s)[:row + 1].any() and sunk / (mass + 1e-6 * seen) <= share and mass >= least:
                    freed = (1 - keep) * a[s].sum()
                    out[h, row, s] = keep * a[s]
                    out[h, row, i & ~s] = a[i & ~s] * (1 + freed / a[i & ~s].sum())
        return out

    return change


def massive(model: PreTrainedModel, layers: Any, inputs: dict[str, Any], channels: tuple[int, ...], threshold: float) -> dict[int, Tensor]:
    """Sinks of one plain prompt, layer → bool [N]: largest of `channels` over the root mean square of what enters the layer. Layers 2 and up."""
    seen: dict[int, Tensor] = {}
    hooks = [layer.register_forward_pre_hook(lambda module, args, kwargs, at=at: seen.__setitem__(at, args[0] if args else kwargs["hidden_states"]),
                                             with_kwargs=True) for at, layer in enumerate(layers)]
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    return {at: (x[0][:, list(channels)].abs().amax(-1) / (x[0].pow(2).mean(-1) + 1e-6).sqrt()) > threshold for at, x in seen.items() if at >= 2}
