"""Composite attention at O(image) cost: EE-MLLM, "A Data-Efficient and Compute-Efficient Multimodal Large Language Model", 2024; the `diag` form.

Under `mm.masks.Composite` an image token attends to itself alone, so its attention output is its own value, and the image does not depend on the
text. It can therefore go through the decoder by itself, without a single score, and leave its keys and values in the cache; the text follows and
reads them. No public code of the paper exists; the `diag` reading of its abstract is a reconstruction.
"""
from dataclasses import fields

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from mm.attention import Plan, repeat_heads
from mm.attention.reading import Reading
from mm.attention.session import HOME, Session
from mm.language.anatomy import text_decoder
from mm.language.arguments import CACHE
from mm.language.seam import arguments, check_layers
from mm.masks import Composite
from mm.tokens import Kind, Role, TokenMap

PADDING = {"kind": int(Kind.PAD), "role": int(Role.PAD), "branch": 0, "position": 0, "depth": 0, "answered": 0, "shown": 0}


class SelfOnly(Reading):
    """Attention of tokens that see themselves alone: their values."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, given: Tensor | None, causal: bool, scale: float | None, dropout: float,
               window: int | None) -> Tensor:
        return repeat_heads(v[:, :, -q.shape[2]:], q.shape[1] // k.shape[1])


def two_pass(model: PreTrainedModel, embeds: Tensor, tokens: TokenMap, position_ids: Tensor) -> tuple[Tensor, DynamicCache]:
    """Hidden states [B, N, C] of embeddings [B, N, C] under `Composite()`, in the prompt's order, and the cache to go on with.

    model: a causal LM on the seam (`mm.language.seam.install`). tokens: one document a row that ends in text, [B, N]; rows may differ and be padded,
    on the left where decoding is to go on. position_ids: [B, N].

    In the cache image tokens come first, and all layers keep all of them; steps that follow under `mm.steer(model, mask=Composite())` know that. They
    are given their `position_ids`, since the cache is not as long as a row, or count along the path (`positions=Restart()`). Gradients flow through
    the cache. ValueError under gradient checkpointing, which forbids a cache (there the mask in one pass gives the same numbers), and for other rows.
    """
    check(model, tokens)
    if model.training and any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        raise ValueError("two passes need a cache, which gradient checkpointing turns off; use the mask mm.masks.Composite in one pass")
    order, filler, count = image_first(tokens)
    moved = permuted(tokens, order, filler)
    session = Session(Plan(Composite()), moved)
    decoder, cache = text_decoder(model), DynamicCache()  # told of sliding layers, it would drop images that a window of the row still holds
    places = position_ids.gather(1, order)
    pieces, length = [], order.shape[1]
    for piece, reading in ((slice(0, count), SelfOnly(session, 0, count)), (slice(count, length), Reading(session, count, length - count))):
        if piece.stop > piece.start:
            part = embeds.gather(1, order[:, piece, None].expand(-1, -1, embeds.shape[-1]))
            pieces.append(decoder(inputs_embeds=part, position_ids=places[:, piece], use_cache=True,
                                  **{CACHE: cache}, **arguments(reading)).last_hidden_state)
    setattr(cache, HOME, session)
    hidden = torch.cat(pieces, 1)
    back = torch.zeros_like(embeds, dtype=hidden.dtype)
    return back.scatter_add(1, order.unsqueeze(-1).expand_as(hidden), hidden.masked_fill(filler.unsqueeze(-1), 0.0)), cache


def check(model: PreTrainedModel, tokens: TokenMap) -> None:
    """ValueError for rows that two passes cannot read."""
    check_layers(model.config.get_text_config(), Composite())
    if bool(((tokens.document > 0) | (tokens.branch > 0)).any()):
        raise ValueError("two passes read one document a row, without branches; use the mask mm.masks.Composite in one pass for packed rows")
    if bool(tokens.is_vision[:, -1].any()):
        raise ValueError(f"row {int(tokens.is_vision[:, -1].long().argmax())} ends in an image, and images are read first, so what is decoded would "
                         "follow other tokens; let a prompt end in text")


def image_first(tokens: TokenMap) -> tuple[Tensor, Tensor, int]:
    """Order [B, N'] that puts each row's image tokens before all others, which of its places only fill up a row with fewer images (bool [B, N']), and
    the largest number of image tokens."""
    vision = tokens.is_vision
    counts = vision.sum(1, keepdim=True)
    most, least = int(counts.max()), int(counts.min())
    place = torch.arange(tokens.shape[1], device=tokens.device)
    sorted_ = torch.where(vision, place, place + tokens.shape[1]).argsort(1)
    slot = torch.arange(tokens.shape[1] + most - least, device=tokens.device).expand(len(counts), -1)
    filler = (slot >= counts) & (slot < most + counts - least)
    source = torch.where(slot < counts, slot, slot - most + least)
    return sorted_.gather(1, torch.where(filler, 0, source)), filler, most


def permuted(tokens: TokenMap, order: Tensor, filler: Tensor) -> TokenMap:
    """The tokens in that order, with the indices and counts that they had; fillers are padding with indices of their own."""
    tables = {field.name: getattr(tokens, field.name).gather(1, order) for field in fields(TokenMap)}
    own = tokens.shape[1] + torch.arange(order.shape[1], device=order.device)
    return TokenMap(**{name: torch.where(filler, own if name == "index" else PADDING.get(name, -1), table) for name, table in tables.items()})
