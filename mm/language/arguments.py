"""Arguments of transformers' forward functions: by name, however they were given, and the cache under any name.

Releases differ in what they call a cache, and callers of newer ones may use the older name.
"""
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import signature
from typing import Any

from torch import nn
from transformers import Cache, GenerationMixin

# `past_key_values` up to transformers 5.23.
CACHE = "cache" if "cache" in signature(GenerationMixin.prepare_inputs_for_generation).parameters else "past_key_values"


def by_name(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a forward call of `module`, those by position included."""
    return {**dict(zip(parameters(type(module).forward), args, strict=False)), **kwargs} if args else dict(kwargs)


@lru_cache
def parameters(method: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(signature(method).parameters)[1:]


def cache_among(named: Mapping[str, Any]) -> Cache | None:
    """Of the arguments of a decoder, or of its output."""
    return next((value for value in named.values() if isinstance(value, Cache)), None)
