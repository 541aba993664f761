"""Decoding of whole batches through transformers, with the model's levers active."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig

from mm.attention import Plan, activated
from mm.models.batch import Batch
from mm.models.modes import evaluating
from mm.models.picture_sets import seen_by
from mm.streams import showing

if TYPE_CHECKING:
    from mm.models.vlm import VLM


@torch.no_grad()
def generated(vlm: VLM, batch: Batch, max_new_tokens: int, num_beams: int, do_sample: bool, temperature: float, seed: int) -> list[list[int]]:
    """Tokens of the answers to a left-padded batch of prompts, each up to the one that ended it."""
    model, stops = vlm.language.model, vlm.processor.stop_ids
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, num_beams=num_beams, do_sample=do_sample,
        temperature=temperature if do_sample else None, top_k=0 if do_sample else None,
        eos_token_id=stops, pad_token_id=vlm.processor.pad_id)
    with evaluating(vlm):
        plan = Plan(vlm.mask, batch.tokens, None, vlm.positions, tuple(seen_by(vlm.reweight, vlm, batch)))
    with evaluating(vlm), activated(plan), torch.random.fork_rng(enabled=do_sample):
        if do_sample:
            torch.manual_seed(seed)
        embeds, sources = vlm.read(batch)
        with showing(sources):
            ids = model.generate(  # type: ignore[operator]
                inputs_embeds=embeds, attention_mask=batch.tokens.is_real.long(), generation_config=settings)
    return [ended(answer, stops) for answer in ids.tolist()]


def ended(ids: Sequence[int], stops: Sequence[int]) -> list[int]:
    """Up to and including the first of `stops`, behind which a batch is filled up."""
    end = next((place + 1 for place, id in enumerate(ids) if id in stops), len(ids))
    return list(ids[:end])
