"""Decoding of whole batches through transformers, with the model's levers active."""
from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig

from mm.attention import Plan, activated
from mm.models.batch import Batch
from mm.models.modes import evaluating
from mm.streams import showing

if TYPE_CHECKING:
    from mm.models.vlm import VLM


@torch.no_grad()
def generated(vlm: VLM, batch: Batch, max_new_tokens: int, num_beams: int, do_sample: bool, temperature: float, seed: int) -> list[str]:
    """Answers to a left-padded batch of prompts."""
    model, tokenizer = vlm.language.model, vlm.language.tokenizer
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, num_beams=num_beams, do_sample=do_sample,
        temperature=temperature if do_sample else None, top_k=0 if do_sample else None,
        eos_token_id=vlm.processor.stop_ids, pad_token_id=vlm.processor.pad_id)
    plan = Plan(vlm.mask, batch.tokens, None, vlm.positions, tuple(vlm.reweight))
    with evaluating(vlm), activated(plan), torch.random.fork_rng(enabled=do_sample):
        if do_sample:
            torch.manual_seed(seed)
        embeds, sources = vlm.read(batch)
        with showing(sources):
            ids = model.generate(  # type: ignore[operator]
                inputs_embeds=embeds, attention_mask=batch.tokens.is_real.long(), generation_config=settings)
    return [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
