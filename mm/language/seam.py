"""The seam into transformers: one name, "mm", in its registries of attention and mask functions, and nothing patched.

A model on the seam computes attention through `mm.attention.attend`. Who sees whom arrives in one of two ways: as the `attention_mask` argument of
the forward call (training: `attention_argument`), or from the active plan (inside `generate`: `mm.attention.activated`). Without either it is the
stock "sdpa" model, to the bit. Vision towers keep their own attention.
"""
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig, PreTrainedModel
from transformers.masking_utils import causal_mask_function, sdpa_mask

from mm.attention import active_plan, attend
from mm.masks import Mask
from mm.tokens import TokenMap

NAME = "mm"
# What a stock kernel would add to the scores and `attend` would silently leave out.
UNSUPPORTED = {
    "softcap": "soft-capped scores",
    "s_aux": "attention sinks with learned logits",
    "position_bias": "an additive position bias",
    "cache": "a paged cache",
}


class UnsupportedModelError(ValueError):
    """A model whose attention cannot be put on the seam without changing what it computes."""


def install(model: PreTrainedModel) -> str:
    """Puts the language part of `model` on the seam; returns what it ran on before, for `uninstall`. UnsupportedModelError with the reason."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)
    text = model.config.get_text_config()
    before = str(text._attn_implementation)
    if reason := obstacle(text):
        raise UnsupportedModelError(f"{type(model).__name__} cannot run on mm's attention: {reason}; choose a model without it")
    set_implementation(model, NAME)
    if text._attn_implementation != NAME:
        raise UnsupportedModelError(f"{type(model).__name__} computes attention in its own code, not through the registry of transformers; "
                                    "choose a model whose attention implementation can be set")
    return before


def uninstall(model: PreTrainedModel, before: str = "sdpa") -> None:
    """Puts `model` back on the implementation that `install` returned."""
    set_implementation(model, before)


def set_implementation(model: PreTrainedModel, name: str) -> None:
    """Sets the attention implementation of the language part only: a bare name would route vision towers through it too."""
    text = model.config.get_text_config()
    part = next((key for key in model.config.sub_configs if getattr(model.config, key, None) is text), None)
    model.set_attn_implementation(name if part is None else {part: name})


def obstacle(config: PretrainedConfig) -> str | None:
    """Why a decoder of this configuration cannot run on the seam exactly; None if it can."""
    if getattr(config, "attn_logit_softcapping", None):
        return f"it soft-caps attention scores at {config.attn_logit_softcapping}, which no fused kernel here does"
    if getattr(config, "attention_chunk_size", None) or "chunked_attention" in layer_types(config):
        return "its chunked attention counts chunks in the padded row"
    return None


def layer_types(config: PretrainedConfig) -> set[str]:
    return set(getattr(config, "layer_types", None) or ())


def attention_argument(model: PreTrainedModel, mask: Mask, tokens: TokenMap) -> Tensor | dict[str, Tensor]:
    """The `attention_mask` argument for one forward call over whole rows, without cache.

    bool [B, 1, N, N]; by layer type where some layers slide. Where the plain model computes the same, all ones [B, N] instead: its kernel's causal
    flag then does the work, and the explicit ones keep transformers from guessing packed rows from position ids. ValueError where the model's own
    implementation would ignore the mask (flash) or add it to the scores (eager).
    """
    config = model.config.get_text_config()
    if mask.is_causal and tokens.is_chain:
        return torch.ones(tokens.shape, dtype=torch.bool, device=tokens.device)
    if config._attn_implementation not in (NAME, "sdpa"):
        raise ValueError(f"the model runs on {config._attn_implementation!r} attention, which ignores or misreads the mask {mask!r}; "
                         "put it on the seam with mm.language.seam.install")
    types = layer_types(config)
    if other := types - {"full_attention", "sliding_attention"}:
        raise UnsupportedModelError(f"layers of type {', '.join(sorted(other))} mix tokens without a mask, so {mask!r} cannot hold in packed, "
                                    "branched or left-padded rows; use one right-padded causal sample a row")
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" not in types:  # one mask for all layers; models without layer types slide in all of them or in none
        return mask.dense(tokens, window=None if types else window)
    return {kind: mask.dense(tokens, window=window if kind == "sliding_attention" else None) for kind in types}


def mask(batch_size: int, q_length: int, kv_length: int, q_offset: int | Tensor = 0, kv_offset: int = 0,
         mask_function: Callable[..., Any] = causal_mask_function, attention_mask: Tensor | None = None, local_size: int | None = None,
         allow_is_causal_skip: bool = True, device: torch.device | str = "cpu", **stock: Any) -> Tensor | None:
    """Mask function of the registry: the active plan's mask, bool [B, 1, Q, N], or what "sdpa" would use. None means the kernel's causal flag."""
    plan = active_plan()
    reading = plan.read(attention_mask, batch_size, int(q_offset) + q_length, torch.device(device)) if plan is not None else None
    if reading is None or reading.is_plain:
        return sdpa_mask(batch_size=batch_size, q_length=q_length, kv_length=kv_length, q_offset=q_offset, kv_offset=kv_offset,  # type: ignore[arg-type]
                         mask_function=mask_function, attention_mask=attention_mask, local_size=local_size,
                         allow_is_causal_skip=allow_is_causal_skip, device=device, **stock)
    start, first = int(q_offset), int(kv_offset)
    visible = reading.visible(batch_size, slice(start, start + q_length), slice(first, first + kv_length), local_size)
    # One row that sees everything needs no mask. (A compiled decoding step must not change its arguments, so it keeps it.)
    return None if q_length == 1 and allow_is_causal_skip and bool(visible.all()) else visible


def attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
              scaling: float | None = None, is_causal: bool | None = None, **unused: Any) -> tuple[Tensor, None]:
    """Attention function of the registry. query: [B, H, Q, D]; key, value: [B, Hk, N, D] → [B, Q, H, D]; weights are never materialised."""
    for name, meaning in UNSUPPORTED.items():
        if unused.get(name) is not None:
            raise UnsupportedModelError(f"{type(module).__name__} asks for {meaning} ({name}), which mm's attention does not compute; "
                                        "choose a model without it")
    rows = query.shape[2]
    causal = rows > 1 and attention_mask is None and bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    if causal and key.shape[2] > rows:  # prefill of a static cache: what follows the prompt is not written yet
        key, value = key[:, :, :rows], value[:, :, :rows]
    plan = active_plan()
    if plan is not None and plan.recorder is not None:
        plan.recorder.record(int(module.layer_idx), query, key, attention_mask, causal, scaling)  # type: ignore[arg-type]
    out = attend(query, key, value, attention_mask, causal, scaling, dropout=dropout).out
    return out.transpose(1, 2).contiguous(), None
