"""The parts of a model of transformers that levers act on."""
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """The text model that owns the decoder layers, head and vision tower aside; of a plain causal LM as well."""
    return model.get_decoder()


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers in order. TypeError for a decoder that keeps them otherwise."""
    count = model.config.get_text_config().num_hidden_layers
    decoder = text_decoder(model)
    for child in decoder.children():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return child
    raise TypeError(f"{type(decoder).__name__} of {type(model).__name__} has no list of its {count} layers; choose a decoder that keeps them in one")


def key_shape(config: PretrainedConfig) -> tuple[int, int]:
    """How many heads of keys a decoder of this (text) configuration has, and how wide they are."""
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return getattr(config, "num_key_value_heads", None) or heads, width


def uses_multimodal_rotary(model: PreTrainedModel) -> bool:
    """Whether the model counts positions in time, height and width (three numbers a token) and works them out itself, as the Qwen VLs do."""
    return hasattr(model.base_model, "get_rope_index")
