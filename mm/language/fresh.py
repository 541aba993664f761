"""A decoder with fresh weights, from a configuration."""
import difflib
from typing import Any

from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from mm.language.base import Language, torch_dtype
from mm.language.tokenizer import Tokenizer
from mm.sample import PLACEHOLDERS


class Fresh(Language):
    """Any causal LM that transformers knows, from scratch.

    Args:
        config: `model_type` ("llama", "qwen3", "gemma3_text", ...) and what differs from that type's defaults. vocab_size and the ids of special
            tokens follow from the tokenizer unless given.
        tokenizer: where its tokenizer comes from.
        dtype: of the weights, e.g. "bfloat16"; float32 if None.
    """

    def __init__(self, config: dict[str, Any], tokenizer: Tokenizer, dtype: str | None = None, gradient_checkpointing: bool = False,
                 compile_blocks: bool = False) -> None:
        loaded = tokenizer.load()
        settings = dict(config)
        kind = settings.pop("model_type", None)
        if kind not in CONFIG_MAPPING:
            near = difflib.get_close_matches(str(kind), list(CONFIG_MAPPING.keys()), 3)
            raise ValueError(f"transformers has no model_type {kind!r}; " + (f"near names: {', '.join(near)}" if near else "try 'llama' or 'qwen3'"))
        special = {f"{name}_token_id": getattr(loaded, f"{name}_token_id") for name in ("pad", "bos", "eos")}
        # The placeholders may lie beyond the table: they never reach it, and a model that has no logit for them cannot say them.
        needed = 1 + max((index for token, index in loaded.get_vocab().items() if token not in PLACEHOLDERS.values()), default=0)
        full = CONFIG_MAPPING[kind](**({"vocab_size": needed} | special | settings))
        if full.vocab_size < needed:
            raise ValueError(f"vocab_size is {full.vocab_size}, and the tokenizer has ids up to {needed - 1}; leave vocab_size out")
        super().__init__(AutoModelForCausalLM.from_config(full, dtype=torch_dtype(dtype)), loaded, gradient_checkpointing, compile_blocks)
        self.config_part = config
        self.tokenizer_part = tokenizer
        self.dtype = dtype
