"""A transformers decoder as a part: embeddings in, hidden states out, its head apart."""
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from mm.attention import Plan, active_plan
from mm.attention.reading import Reading
from mm.attention.session import Session
from mm.language import seam
from mm.language.anatomy import key_shape
from mm.language.last import LastMLP
from mm.language.streams import SOURCES
from mm.masks import Mask
from mm.reweight import Rule, Rules
from mm.streams import Sources
from mm.tokens import TokenMap

DENSE = 2**25  # entries of a dense mask beyond which rows are long


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
        self.last_mlp = LastMLP(model)
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

    @property
    def layers(self) -> int:
        return self.config.num_hidden_layers

    @property
    def heads(self) -> int:
        return self.config.num_attention_heads

    def rules(self, rules: Sequence[Rule]) -> Rules:
        """The rules, told what this decoder is like."""
        return Rules(rules, self.layers, self.heads, *key_shape(self.config))

    def forward(self, embeds: Tensor, mask: Mask, tokens: TokenMap, position_ids: Tensor, rules: Sequence[Rule] = (),
                rows: Tensor | None = None, sources: Sources | None = None) -> Tensor:
        """Embeddings [B, N, width] → hidden states [B, N, width] before the head; [R, width] at `rows`, indices into flattened tokens, if given.

        tokens: as the position ids place them. sources: what the blocks of a stream read (`mm.language.insert`).
        """
        arguments = self._levers(mask, tokens, tuple(rules)) | self.last_mlp.arguments(rows) | ({} if sources is None else {SOURCES: sources})
        hidden = self.model.base_model(inputs_embeds=embeds, position_ids=position_ids, use_cache=False, **arguments).last_hidden_state
        return hidden if rows is None else hidden.flatten(0, 1)[rows]

    def _levers(self, mask: Mask, tokens: TokenMap, rules: tuple[Rule, ...]) -> dict[str, Any]:
        """The arguments that carry the levers: for short rows one dense mask, made once for all layers; with rules, or for long rows, a reading."""
        if not rules and tokens.shape.numel() * tokens.shape[1] <= DENSE:
            return {"attention_mask": seam.attention_argument(self.model, mask, tokens)}
        active = active_plan()
        plan = Plan(mask, tokens, active.recorder if active else None, None, rules)
        return seam.arguments(Reading(Session(plan, tokens), 0, tokens.shape[1], is_kept=False))

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
