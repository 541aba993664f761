"""The seam into transformers: one name, "mm", in its registries of attention and mask functions, hooks on the decoder, and nothing patched.

A model on the seam computes attention through `mm.attention`. What is active for it, the levers of `mm.steer` or the plan of
`mm.attention.activated`, becomes one `Reading` a forward pass, which a hook hands to the decoder as an argument and every layer hands on to the
attention function. Without a plan it is the stock "sdpa" model, to the bit. Vision towers keep their own attention.
"""
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from mm.attention import active_plan, attend
from mm.attention.reading import Reading
from mm.language.anatomy import decoder_layers, text_decoder
from mm.language.door import READING, enter_decoder, enter_layer, leave_decoder
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
    AttentionMaskInterface.register(NAME, sdpa_mask)
    text = model.config.get_text_config()
    before = str(text._attn_implementation)
    if reason := obstacle(model):
        raise UnsupportedModelError(f"{type(model).__name__} cannot run on mm's attention: {reason}; choose a model without it")
    set_implementation(model, NAME)
    if text._attn_implementation != NAME:
        raise UnsupportedModelError(f"{type(model).__name__} computes attention in its own code, not through the registry of transformers; "
                                    "choose a model whose attention implementation can be set")
    decoder = text_decoder(model)
    if not own_hooks(decoder._forward_pre_hooks):
        decoder.register_forward_pre_hook(enter_decoder, with_kwargs=True)
        decoder.register_forward_hook(leave_decoder, with_kwargs=True)
        for index, layer in enumerate(decoder_layers(model)):
            layer.register_forward_pre_hook(partial(enter_layer, index), with_kwargs=True)
    return before


def uninstall(model: PreTrainedModel, before: str = "sdpa") -> None:
    """Puts `model` back on the implementation that `install` returned."""
    set_implementation(model, before)
    if before != NAME:
        for module in (text_decoder(model), *decoder_layers(model)):
            for key in own_hooks(module._forward_pre_hooks):
                del module._forward_pre_hooks[key], module._forward_pre_hooks_with_kwargs[key]
            for key in own_hooks(module._forward_hooks):
                del module._forward_hooks[key], module._forward_hooks_with_kwargs[key]


def own_hooks(hooks: Mapping[int, Any]) -> list[int]:
    """Keys of the seam's own among a module's hooks."""
    return [key for key, hook in hooks.items() if getattr(hook, "func", hook) in (enter_decoder, enter_layer, leave_decoder)]


def set_implementation(model: PreTrainedModel, name: str) -> None:
    """Sets the attention implementation of the language part only: a bare name would route vision towers through it too."""
    text = model.config.get_text_config()
    part = next((key for key in model.config.sub_configs if getattr(model.config, key, None) is text), None)
    model.set_attn_implementation(name if part is None else {part: name})


def obstacle(model: PreTrainedModel) -> str | None:
    """Why the decoder of this model cannot run on the seam exactly; None if it can."""
    config = model.config.get_text_config()
    if getattr(config, "attn_logit_softcapping", None):
        return f"it soft-caps attention scores at {config.attn_logit_softcapping}, which no fused kernel here does"
    if getattr(config, "attention_chunk_size", None) or "chunked_attention" in layer_types(config):
        return "its chunked attention counts chunks in the padded row"
    if getattr(config, "alibi", False) or config.model_type in ("mpt", "bloom"):
        return "it adds ALiBi biases to the scores, in its own attention code"
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
    check_layers(config, mask)
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" not in types:  # one mask for all layers; models without layer types slide in all of them or in none
        return mask.dense(tokens, window=None if types else window)
    return {kind: mask.dense(tokens, window=window if kind == "sliding_attention" else None) for kind in types}


def arguments(reading: Reading) -> dict[str, Any]:
    """The arguments of a forward call of a decoder that deliver `reading`.

    A mask with four dimensions is handed on as it is. This one takes no memory, and the attention function asks the reading instead; where the plan
    has no mask, explicit ones keep transformers from taking odd position ids for packed rows.
    """
    real = reading.session.tokens.is_real[:, :reading.stop]
    if not reading.has_mask and not bool(real[:, 0].all()):
        return {READING: reading, "attention_mask": real}
    shape = (len(real), 1, reading.stop - reading.start, reading.stop) if reading.has_mask else real.shape
    return {READING: reading, "attention_mask": torch.ones((), dtype=torch.bool, device=real.device).expand(shape)}


def check_layers(config: PretrainedConfig, lever: object) -> None:
    """UnsupportedModelError where some layers mix tokens without a mask."""
    if other := layer_types(config) - {"full_attention", "sliding_attention"}:
        raise UnsupportedModelError(f"layers of type {', '.join(sorted(other))} mix tokens without a mask, so {lever!r} cannot hold in packed, "
                                    "branched or left-padded rows; use one right-padded causal sample a row")


def attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
              scaling: float | None = None, is_causal: bool | None = None, sliding_window: int | None = None, mm_reading: Reading | None = None,
              **unused: Any) -> tuple[Tensor, None]:
    """Attention function of the registry. query: [B, H, Q, D]; key, value: [B, Hk, N, D] → [B, Q, H, D]; weights are never materialised."""
    for name, meaning in UNSUPPORTED.items():
        if unused.get(name) is not None:
            raise UnsupportedModelError(f"{type(module).__name__} asks for {meaning} ({name}), which mm's attention does not compute; "
                                        "choose a model without it")
    rows = query.shape[2]
    causal = rows > 1 and attention_mask is None and bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    if mm_reading is not None:
        out = mm_reading.attend(int(module.layer_idx), query, key, value, attention_mask, causal, scaling, dropout,  # type: ignore[arg-type]
                                sliding_window)
        return out.transpose(1, 2).contiguous(), None
    if causal and key.shape[2] > rows:  # prefill of a static cache: what follows the prompt is not written yet
        key, value = key[:, :, :rows], value[:, :, :rows]
    plan = active_plan()
    if plan is not None and plan.recorder is not None:
        plan.recorder.record(int(module.layer_idx), query, key, attention_mask, causal, scaling)  # type: ignore[arg-type]
    out = attend(query, key, value, attention_mask, causal, scaling, dropout=dropout).out
    return out.transpose(1, 2).contiguous(), None

