"""Blocks of a stream between the layers of any decoder of transformers, by hooks: nothing is forked, nothing patched.

What the blocks read travels with the forward call as the keyword argument `mm_sources`, so that layers and blocks that are recomputed for their
gradient find it again; a cache keeps what decoding needs.
"""
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel

from mm.language.anatomy import decoder_layers, key_shape, text_decoder
from mm.language.arguments import by_name, cache_among
from mm.language.door import Arguments, keeps_keys
from mm.language.last import passes_on
from mm.language.seam import UnsupportedModelError
from mm.streams.crossing import HOME, Crossing, Memory
from mm.streams.sources import Sources, shown
from mm.streams.stream import Shape, Stream

SOURCES = "mm_sources"  # the keyword argument: `Sources` for the decoder, a `Crossing` for its layers
OWNER = "_mm_streams"  # attribute of a decoder that has a stream


def insert(model: PreTrainedModel, stream: Stream, source_width: int) -> "Streams":
    """Blocks of `stream` in the decoder of `model`, fresh and without effect; they are the returned module's parameters, not the model's.

    Media come with a call, `model(input_ids, ..., mm_sources=Sources(...))`, or, for `generate`, within `mm.streams.showing(sources)`. `remove()`
    takes the blocks out, and the model is as it was. source_width: of the encoder's features. UnsupportedModelError, with the reason, where the
    decoder has no place for the blocks; ValueError where it has a stream already, or where the stream does not fit. Nothing has changed then.
    (Between self-attention and MLP, the model's first call may still show that there is none.)
    """
    return Streams(model, stream, source_width)


class Streams(nn.Module):
    """The blocks of a stream in one decoder, by the index of their layer, and its reader."""

    def __init__(self, model: PreTrainedModel, stream: Stream, source_width: int) -> None:
        super().__init__()
        decoder, layers = text_decoder(model), decoder_layers(model)
        config = model.config.get_text_config()
        check(model, stream)
        self.width, shape = stream.source_width(source_width), shape_of(config)
        self.stream, self.reader = stream, stream.reader
        self.blocks = nn.ModuleDict({str(index): stream.block(shape, self.width) for index in stream.layers(len(layers))})
        self.blocks.to(device=model.device, dtype=model.dtype)
        self.hooks = [decoder.register_forward_pre_hook(self.enter, with_kwargs=True), decoder.register_forward_hook(self.leave, with_kwargs=True)]
        setattr(decoder, OWNER, self.hooks)
        self.hosts = decoder, tuple(layers[int(index)] for index in self.blocks)  # tuples, so that their parameters are not taken for this module's
        for index, layer in zip(map(int, self.blocks), self.hosts[1], strict=True):
            self.hooks += self.place(index, layer)

    def place(self, index: int, layer: nn.Module) -> list[Any]:
        """The hooks of one block."""
        if self.stream.placement == "before_layer":
            return [layer.register_forward_pre_hook(partial(self.before, index), with_kwargs=True, prepend=True)]
        if self.stream.placement == "after_layer":
            return [layer.register_forward_hook(partial(self.after, index), with_kwargs=True)]
        between = Between(self, index)
        parts: Any = layer
        last, follows = parts.self_attn, parts.post_attention_layernorm
        if hasattr(layer, "pre_feedforward_layernorm"):
            last, follows = follows, parts.pre_feedforward_layernorm
        return [parts.input_layernorm.register_forward_pre_hook(between.keep), last.register_forward_hook(between.add),
                parts.self_attn.register_forward_pre_hook(between.hear, with_kwargs=True), follows.register_forward_pre_hook(between.check)]

    @property
    def is_in(self) -> bool:
        """Whether the blocks stand in the decoder, until `remove`."""
        return getattr(self.hosts[0], OWNER, None) is self.hooks

    def remove(self) -> None:
        """Takes the blocks out of the decoder; they and their weights stay here. Of a `VLM`, set `streams` to None besides."""
        for hook in self.hooks:
            hook.remove()
        if self.is_in:
            delattr(self.hosts[0], OWNER)

    # Hooks

    def enter(self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        """Of the decoder, before: what its layers are to know of the media."""
        kwargs = by_name(decoder, args, kwargs)
        given = kwargs.pop(SOURCES, None)
        sources: Sources | None = given if given is not None else shown()
        if sources is not None and sources.features.shape[-1] != self.width:
            raise ValueError(f"the media's features are {sources.features.shape[-1]} wide, and the blocks of the stream read features of "
                             f"{self.width}; give those that it was made for, or insert it with their width")
        embeds, ids, cache = kwargs.get("inputs_embeds"), kwargs.get("input_ids"), cache_among(kwargs)
        read = embeds if embeds is not None else ids
        assert read is not None, "a decoder reads ids or embeddings"
        rows, count = read.shape[:2]
        start = 0 if cache is None else int(cache.get_seq_length())
        memory = remembered(cache, start, sources, rows)
        if memory is None:
            return (), kwargs
        self.check_compiled()
        goes_on = sources is None or start >= memory.length
        memory.held = min(memory.held, start) if goes_on else start + count
        crossing = Crossing(memory, start, count, goes_on, keeps_keys(decoder, kwargs))
        place = memory.held, count
        if not goes_on or place not in memory.plans:
            plan = self.stream.plan(crossing)
            if goes_on:
                memory.plans[place] = plan
        crossing.plan = memory.plans[place] if goes_on else plan
        return (), {**kwargs, SOURCES: crossing}

    def check_compiled(self) -> None:
        """UnsupportedModelError for layers that were compiled one by one: the compiler lets them share code without a look at hooks within."""
        compiled = any(getattr(layer, "_compiled_call_impl", None) is not None for layer in self.hosts[1])
        if compiled and self.stream.placement == "after_self_attention":
            raise UnsupportedModelError("layers that are compiled one by one cannot hold blocks between their self-attention and their MLP; place "
                                        "the blocks after_layer, or do without compile_blocks")

    def leave(self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Of the decoder, behind: a cache that it made itself gets to know the media, too."""
        cache, crossing = cache_among(output) if isinstance(output, dict) else None, kwargs.get(SOURCES)
        if cache is not None and crossing is not None:
            setattr(cache, HOME, crossing.memory)

    def before(self, index: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        if args:
            return (self.through(index, layer, args[0], kwargs.get(SOURCES)), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": self.through(index, layer, kwargs["hidden_states"], kwargs.get(SOURCES))}

    def after(self, index: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if isinstance(output, Tensor):
            return self.through(index, layer, output, kwargs.get(SOURCES))
        return (self.through(index, layer, output[0], kwargs.get(SOURCES)), *output[1:])

    def through(self, index: int, layer: nn.Module, hidden: Tensor, crossing: Crossing | None) -> Tensor:
        """Hidden states through the block of a layer, recomputed in the backward pass where the layer is."""
        block = self.blocks[str(index)]
        if getattr(layer, "gradient_checkpointing", False) and layer.training and torch.is_grad_enabled():
            return checkpoint(block, hidden, crossing, index, use_reentrant=False)
        return block(hidden, crossing, index)


class Between:
    """A block between a layer's self-attention and its MLP: what it adds joins what the attention adds to the sum that the MLP reads.

    What it holds, it holds from one submodule of a layer's forward pass to the next, which is repeated as a whole where it is recomputed.
    """

    def __init__(self, streams: Streams, index: int) -> None:
        self.streams, self.index = streams, index
        self.hidden: Tensor | None = None
        self.crossing: Crossing | None = None
        self.sum: Tensor | None = None
        self.is_checked = False

    def keep(self, norm: nn.Module, args: tuple[Any, ...]) -> None:
        self.hidden = args[0]

    def hear(self, attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.crossing = kwargs.get(SOURCES)

    def add(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        found: Tensor = output if isinstance(output, Tensor) else output[0]
        assert self.hidden is not None, "the norm before the attention has seen them"
        hidden, crossing = self.hidden + found, self.crossing
        self.hidden = self.crossing = None
        read = self.streams.blocks[str(self.index)](hidden, crossing, self.index)
        found = found + (read - hidden)
        if not self.is_checked:
            self.sum = read.detach()
        return found if isinstance(output, Tensor) else (found, *output[1:])

    def check(self, norm: nn.Module, args: tuple[Any, ...]) -> None:
        """Of the MLP's norm, once: what it reads is the sum. Some layers scale or normalise the attention's output again, and nothing says so."""
        if self.sum is None:
            return
        wanted, self.sum = self.sum.float(), None
        apart = (args[0].detach().float() - wanted).abs().amax()
        if apart > 0.02 * wanted.abs().amax():  # rounding to bfloat16 is well below
            raise UnsupportedModelError(f"layer {self.index} of this model does not add what its attention gives to what entered it, as it is, so a "
                                        "block's part would not arrive as it is either; place the blocks after_layer")
        self.is_checked = True


def remembered(cache: Any, start: int, sources: Sources | None, rows: int) -> Memory | None:
    """What is known of the media of a call behind `start` cached tokens. ValueError where it does not go on with what the cache holds."""
    if start == 0:
        memory = None if sources is None else Memory(sources, rows)
        if cache is not None:
            setattr(cache, HOME, memory)
        return memory
    known: Memory | None = getattr(cache, HOME, None)
    if sources is not None and (known is None or known.sources is not sources):
        raise ValueError(f"media came with a call behind {start} cached tokens that were read without them; read the whole row again, with all of "
                         "its media")
    if known is not None and known.rows != rows:
        raise ValueError(f"the cache knows the media of {known.rows} rows and the model reads {rows}; do not select rows of a cache with media")
    return known


def has_stream(model: PreTrainedModel) -> bool:
    return hasattr(text_decoder(model), OWNER)


def shape_of(config: PretrainedConfig) -> Shape:
    eps = next((value for name in ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")
                if (value := getattr(config, name, None)) is not None), 1e-6)
    hidden = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return Shape(config.hidden_size, config.num_attention_heads, *key_shape(config), hidden, eps)


def check(model: PreTrainedModel, stream: Stream) -> None:
    """Raises where the decoder of `model` has no place for the stream."""
    name, decoder = type(model).__name__, text_decoder(model)
    if has_stream(model):
        raise ValueError(f"{name} has a stream already; take it out first (remove())")
    if not all(passes_on(module) for module in (decoder, *decoder_layers(model))):
        raise UnsupportedModelError(f"{name} does not hand arguments that it does not know on to its layers, so media cannot travel with a call; "
                                    "choose a model whose layers take them")
    if stream.placement != "after_self_attention":
        return
    parts = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
    for layer in decoder_layers(model):
        if missing := [part for part in parts if not isinstance(getattr(layer, part, None), nn.Module)]:
            raise UnsupportedModelError(f"the layers of {name} have no {', '.join(missing)}, so there is no sum between self-attention and MLP to be "
                                        "found in them; place the blocks after_layer")
    if getattr(model.config.get_text_config(), "residual_multiplier", None):
        raise UnsupportedModelError(f"{name} scales what its attention adds, and would scale what a block adds with it; place the blocks after_layer")
