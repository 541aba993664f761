"""The decoder that original masks were recorded with, read under levers."""
import json

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from mm.masks import Mask
from mm.models.steer import steer
from mm.positions import Positions
from mm.tokens import TokenMap
from tests.golden import HERE, load


def golden_llama() -> LlamaForCausalLM:
    model = LlamaForCausalLM(LlamaConfig(**json.loads((HERE / "masks" / "tiny_llama_config.json").read_text()))).eval()
    model.load_state_dict(vars(load("masks", "tiny_llama_weights")))
    return model


@torch.no_grad()
def read(embeds: Tensor, tokens: TokenMap, mask: Mask, positions: Positions, decoded: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Logits [B, N, V] of a prompt of embeddings [B, N, D], and [D, V] of ids `decoded` fed one by one behind its first row, from the cache."""
    model = golden_llama()
    cache = DynamicCache(config=model.config)
    with steer(model, mask=mask, positions=positions, tokens=tokens):
        prompt = model(inputs_embeds=embeds, attention_mask=tokens.is_real.long(), past_key_values=cache).logits
        steps = []
        for count, token in enumerate([] if decoded is None else decoded.tolist(), 1):
            real = tokens.extend(count).is_real.long()
            steps.append(model(input_ids=torch.full_like(real[:, :1], token), attention_mask=real, past_key_values=cache).logits[0, -1])
    return prompt, torch.stack(steps) if steps else prompt[0, :0]
