"""A transformers decoder as a part: embeddings in, hidden states out, its head apart."""
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from mm.language import seam
from mm.masks import Mask
from mm.tokens import TokenMap


class Language(nn.Module):
    """A causal LM of transformers on mm's attention, and its tokenizer.

    Args:
        model: any `...ForCausalLM` that the seam accepts (`mm.language.seam.obstacle` has the reasons why not).
        tokenizer: prepared by `mm.language.tokenizer.prepared`.
        gradient_checkpointing: recompute each block in the backward pass instead of keeping its activations.
        compile_blocks: compile each block by itself; one compilation serves all blocks. Needs a C++ compiler on CPU.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, gradient_checkpointing: bool = False,
                 compile_blocks: bool = False) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.compile_blocks = compile_blocks
        self.tokenizer = tokenizer
        seam.install(model)
        model.generation_config = GenerationConfig()  # answers depend on what the caller says, not on what lies beside the weights
        self.model = model
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if compile_blocks:
            blocks: Iterable[nn.Module] = model.base_model.layers  # type: ignore[assignment]
            for block in blocks:
                block.compile()

    @property
    def config(self) -> Any:
        return self.model.config.get_text_config()

    @property
    def width(self) -> int:
        return self.config.hidden_size

    def embed(self, ids: Tensor) -> Tensor:
        """Ids [B, N] → embeddings [B, N, width], scaled as the model scales them."""
        return self.model.get_input_embeddings()(ids)

    def forward(self, embeds: Tensor, mask: Mask, tokens: TokenMap, position_ids: Tensor) -> Tensor:
        """Embeddings [B, N, width] → hidden states [B, N, width] before the head."""
        visible = seam.attention_argument(self.model, mask, tokens)
        return self.model.base_model(inputs_embeds=embeds, attention_mask=visible, position_ids=position_ids, use_cache=False).last_hidden_state

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., width] → logits [..., vocabulary], with the scaling and capping that some families add."""
        logits = self.model.get_output_embeddings()(hidden)
        if scale := getattr(self.config, "logit_scale", None):  # Cohere
            logits = logits * scale
        if divisor := getattr(self.config, "logits_scaling", None):  # Granite
            logits = logits / divisor
        if cap := getattr(self.config, "final_logit_softcapping", None):  # Gemma
            logits = torch.tanh(logits / cap) * cap
        return logits

    def rebuild(self) -> dict[str, Any]:
        """The same architecture with fresh weights; the tokenizer lies beside the weights."""
        return {"class_path": "mm.language.Fresh", "init_args": {
            "config": self.model.config.to_diff_dict() | {"model_type": self.model.config.model_type},
            "tokenizer": {"class_path": "mm.language.SavedTokenizer", "init_args": {"path": "tokenizer"}},
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "gradient_checkpointing": self.gradient_checkpointing, "compile_blocks": self.compile_blocks}}


def torch_dtype(name: str | None) -> torch.dtype:
    """The dtype of that name, float32 for None. ValueError for a name that is no floating dtype."""
    dtype = getattr(torch, name or "float32", None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"{name!r} is no floating dtype of torch; use 'float32', 'bfloat16' or 'float16'")
    return dtype
