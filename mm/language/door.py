"""Hooks on a decoder: what enters it is turned into a `Reading`, and what enters a layer is shown to the rules that look at hidden states.

The hooks are functions of a module's arguments and hold nothing themselves. What is active for a decoder lies on it, as `Levers`.
"""
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from mm.attention.plan import Plan, active_plan
from mm.attention.reading import Reading
from mm.attention.session import HOME, session_for
from mm.language.arguments import by_name, cache_among
from mm.tokens import TokenMap

READING = "mm_reading"  # the keyword argument that travels through the layers
LEVERS = "_mm_levers"  # attribute of a steered decoder
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(eq=False)
class Levers:
    """What lies on a steered decoder: the plans that are installed, innermost last, and what is known of the call that runs.

    before: the attention implementation to go back to. sees: the model reads pictures. prompt: map of all prompts that `generate` was called with,
    None outside of it. chunk: map of what a single forward call of the whole model reads. pending: readings of forward passes that a backward pass
    may still recompute.
    """

    before: str
    sees: bool = False
    plans: list[Plan] = field(default_factory=list)
    prompt: TokenMap | None = None
    chunk: TokenMap | None = None
    pending: "WeakSet[Reading]" = field(default_factory=WeakSet)

    @property
    def plan(self) -> Plan | None:
        """The innermost plan's levers, and where it has none those of the plan around it."""
        return reduce(over, self.plans) if self.plans else None


def over(outer: Plan, inner: Plan) -> Plan:
    return Plan(*(mine if (mine := getattr(inner, field.name)) is not None else getattr(outer, field.name) for field in fields(Plan)))


def levers_of(decoder: nn.Module) -> Levers | None:
    return getattr(decoder, LEVERS, None)


def enter_decoder(decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
    """Forward pre-hook of a text decoder: adds the reading, and overrides mask and position ids where levers say so."""
    levers = levers_of(decoder)
    plan = active_plan() if levers is None or levers.plan is None else levers.plan
    if kwargs.get(READING) is not None or plan is None:
        return None
    kwargs = by_name(decoder, args, kwargs)
    if kwargs.get("output_attentions"):
        raise ValueError("output_attentions asks for weights, rows by keys, which mm's attention never makes, so there would be none; "
                         "watch the rows you want with a mm.attention.Recorder (mm.steer(..., recorder=...))")
    embeds, ids = kwargs.get("inputs_embeds"), kwargs.get("input_ids")
    read = embeds if embeds is not None else ids
    assert read is not None, "a decoder reads ids or embeddings"
    batch, count = read.shape[:2]
    cache, given = cache_among(kwargs), kwargs.get("attention_mask")
    start = 0 if cache is None else int(cache.get_seq_length())
    prompt, chunk = plan.tokens, None
    if levers is not None:
        prompt = prompt if prompt is not None else levers.prompt
        chunk, levers.chunk = levers.chunk, None
    if chunk is None and prompt is None and (start == 0 or count > 1):
        if levers is not None and levers.sees:
            raise ValueError(f"{type(decoder).__name__} reads tokens of a vision-language model, and which of them are pictures only the whole model "
                             "knows; call the whole model, or give the map (tokens=...)")
        chunk = TokenMap.text(real_tokens(given, batch, start, count, read.device))
    session = session_for(plan, cache, start, count, batch, prompt, chunk)
    is_left = own_mask_is_causal(decoder.config, given, start) and (given is not None or not session.is_padded)
    reading = Reading(session, start, count, is_left, keeps_keys(decoder, kwargs))
    if levers is not None and torch.is_grad_enabled():
        levers.pending.add(reading)
    if plan.positions is not None:
        kwargs["position_ids"] = session.tokens.position[:, start:start + count].contiguous()
        if given is None:  # explicit ones keep transformers from taking odd position ids for packed rows
            kwargs["attention_mask"] = torch.ones(batch, start + count, dtype=torch.bool, device=read.device)
    if reading.has_mask:
        # A mask with four dimensions is handed on as it is; this one takes no memory, and the attention function asks the reading instead.
        kwargs["attention_mask"] = torch.ones((), dtype=torch.bool, device=read.device).expand(batch, 1, count, start + count)
    kwargs[READING] = reading
    return (), kwargs


def leave_decoder(decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
    """Forward hook of a text decoder: a cache that it made itself gets the session, too."""
    cache, reading = cache_among(output) if isinstance(output, dict) else None, kwargs.get(READING)
    if cache is not None and reading is not None:
        setattr(cache, HOME, reading.session)


def enter_layer(index: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forward pre-hook of decoder layer `index`: shows the rules what enters it."""
    reading: Reading | None = kwargs.get(READING)
    if reading is not None and reading.wants_hidden(index):
        reading.see(index, args[0] if args else kwargs["hidden_states"])


def own_mask_is_causal(config: Any, given: Any, start: int) -> bool:
    """Whether the model, left to itself, hides from each token what comes later. given: its attention mask, prepared or not."""
    if getattr(config, "use_bidirectional_attention", False) or getattr(config, "is_causal", True) is False:
        return False
    for mask in given.values() if isinstance(given, dict) else (given,):
        if isinstance(mask, Tensor) and mask.dim() == 4:
            last = min(start, mask.shape[3] - mask.shape[2])  # of the keys that the first query sees; a sliding cache has dropped some
            if bool((mask if mask.dtype == torch.bool else mask == 0).triu(last + 1).any()):
                return False
    return True


def keeps_keys(decoder: nn.Module, kwargs: dict[str, Any]) -> bool:
    """Whether a cache will hold what this call of the decoder reads; gradient checkpointing turns it off."""
    if decoder.training and any(getattr(module, "gradient_checkpointing", False) for module in decoder.modules()):
        return False
    wanted = kwargs.get("use_cache")
    return cache_among(kwargs) is not None or bool(getattr(decoder.config, "use_cache", True) if wanted is None else wanted)


def real_tokens(given: Any, batch: int, start: int, count: int, device: torch.device) -> Tensor:
    """Which of the `count` tokens behind `start` cached ones are no padding, bool [batch, count], from any attention mask of transformers.

    Of a mask prepared for a static cache the last query's row tells: it sees every real token.
    """
    if isinstance(given, dict):
        given = given.get("full_attention", next(iter(given.values())))
    if not isinstance(given, Tensor):
        return torch.ones(batch, count, dtype=torch.bool, device=device)
    if given.dim() == 4:
        row = given[:, 0, -1, start:start + count]
        return (row if row.dtype == torch.bool else row == 0).expand(batch, -1)
    return given[:, start:start + count].bool()
