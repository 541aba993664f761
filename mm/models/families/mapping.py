"""The map of a prompt that a processor of transformers made."""
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mm.models.families.anyres import LlavaNext, LlavaOnevision
from mm.models.families.base import Family, PlaceholderError, Stream
from mm.models.families.idefics import Idefics
from mm.models.families.internvl import InternVL
from mm.models.families.llava import Llava
from mm.models.families.qwen import QwenVL
from mm.models.families.roles import roles
from mm.models.families.single import Gemma3, PaliGemma
from mm.models.families.unlisted import OneRunAnImage, TextOnly
from mm.tokens import Kind, TokenMap

FAMILIES: tuple[Family, ...] = (
    TextOnly(), Llava(), LlavaNext(), LlavaOnevision(), QwenVL(), InternVL(), Idefics(), PaliGemma(), Gemma3(), OneRunAnImage())


def token_map(model: PreTrainedModel, inputs: Mapping[str, Any]) -> TokenMap:
    """What each position of the prompts in `inputs` is, [B, N], padding on either side.

    inputs: what the model's processor made, `labels` included if there are any. Every placeholder is a VISION token; what a processor writes around
    and between them (start, end, tags, timestamps) is text. media counts the images and clips of a row in the order of the prompt. What frame, row
    and col are is said by the classes in this package; each frame is a full grid, but for newline and class tokens, which have row and col -1.

    Chat templates are not parsed. Without labels, text before the first image is SYSTEM, of no turn, and all else QUESTION in turn 0; labelled text
    is ANSWER, and what follows it begins the next turn. Who needs more builds the map or replaces these two tables.

    ValueError without input_ids; PlaceholderError naming the row and image whose placeholders are not what its pixels need; TypeError for a model of
    an unknown family.
    """
    given = inputs.get("input_ids")
    if given is None:
        raise ValueError("a token map is read from input_ids, and the inputs have none (inputs_embeds do not say where images are); "
                         "pass input_ids, or give an explicit `tokens=` map")
    ids, device = given.cpu(), given.device
    mask = inputs.get("attention_mask")
    if mask is not None and getattr(mask, "shape", None) != ids.shape:
        found = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"attention_mask is {found} and input_ids are {tuple(ids.shape)}; pass the 2-D mask that the processor made")
    text = TokenMap.text(torch.ones_like(ids) if mask is None else mask.cpu())
    streams = family_of(model).streams(model, ids, inputs)
    tables = _placed(ids, streams)
    real, vision = text.is_real, tables["media"] >= 0
    labels = inputs.get("labels")
    role, turn = roles(real, vision & real, None if labels is None else labels.cpu())
    kind = text.kind.masked_fill(vision & real, int(Kind.VISION))
    places = {name: table.masked_fill(~real, -1) for name, table in tables.items()}
    known = {field.name: getattr(text, field.name) for field in fields(TokenMap) if field.default is MISSING}
    return TokenMap(**{**known, **places, "kind": kind, "role": role, "turn": turn}).to(device)


def family_of(model: PreTrainedModel) -> Family:
    """The first family that knows `model`. TypeError listing them where none does."""
    for family in FAMILIES:
        if family.matches(model):
            return family
    known = ", ".join(family.names for family in FAMILIES)
    raise TypeError(f"mm does not know how {type(model).__name__} lays out its prompts; known are {known}. Give an explicit `tokens=` map instead")


def _placed(ids: Tensor, streams: Sequence[Stream]) -> dict[str, Tensor]:
    """The tables media, frame, row and col, [B, N]: the placeholders of each stream hold its media in the order of the batch."""
    tables = {name: torch.full_like(ids, -1) for name in ("media", "frame", "row", "col")}
    serial, firsts = 0, []
    for stream in streams:
        at = ids == stream.placeholder
        _check(stream, at.sum(1).tolist())
        if not stream.media:
            continue
        counts = torch.tensor([len(medium.frame) for medium in stream.media])
        for name in ("frame", "row", "col"):
            tables[name][at] = torch.cat([getattr(medium, name) for medium in stream.media])
        tables["media"][at] = serial + torch.arange(len(counts)).repeat_interleave(counts)
        firsts.append(at.flatten().nonzero()[:, 0][counts.cumsum(0) - counts])
        serial += len(counts)
    if firsts:
        start = torch.cat(firsts)
        row = start // ids.shape[1]
        ordinal = ((row[:, None] == row) & (start[:, None] > start)).sum(1)
        tables["media"] = torch.where(tables["media"] < 0, -1, ordinal[tables["media"]])
    return tables


def _check(stream: Stream, found: list[int]) -> None:
    """Every medium has its tokens, all in one row, and no placeholder is left. found: placeholders of each row."""
    row, used, ordinal = 0, 0, 0
    for index, medium in enumerate(stream.media):
        while row < len(found) - 1 and used == found[row]:
            row, used, ordinal = row + 1, 0, 0
        expected = len(medium.frame)
        if found[row] - used < expected:
            raise PlaceholderError(
                f"{stream.kind} {ordinal} of row {row} ({stream.kind} {index} of the batch) needs {expected} placeholder tokens, and the row has "
                f"{found[row] - used} left; make text and pixels with one call of this model's processor, without truncation")
        used, ordinal = used + expected, ordinal + 1
    for later, count in enumerate(found[row:], start=row):
        if count > (used if later == row else 0):
            raise PlaceholderError(
                f"row {later} has {count} {stream.kind} placeholder tokens, and the {len(stream.media)} {stream.kind}s of the batch fill "
                f"{used if later == row else 0} of them; pass everything that the model's processor made, pixels and sizes included")
