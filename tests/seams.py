"""Small decoders on the seam into transformers, read and decoded with them."""
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from mm.attention import Plan, activated
from mm.language import seam
from mm.masks import Mask
from mm.positions import Restart
from mm.tokens import TokenMap
from tests.toys import tiny


def seamed(family: str = "llama", **overrides: Any) -> PreTrainedModel:
    model = tiny(family, **overrides)
    seam.install(model)
    return model


def logits(model: PreTrainedModel, ids: Tensor, tokens: TokenMap, mask: Mask) -> Tensor:
    visible = seam.attention_argument(model, mask, tokens)
    return model(input_ids=ids, attention_mask=visible, position_ids=Restart().assign(tokens), use_cache=False).logits


def decode(model: PreTrainedModel, plan: Plan | None, ids: Tensor, real: Tensor, **settings: Any) -> Tensor:
    config = GenerationConfig(max_new_tokens=5, do_sample=False, pad_token_id=0, bos_token_id=1, **settings)
    with torch.no_grad(), activated(plan):
        return model.generate(input_ids=ids, attention_mask=real.long(), generation_config=config)
