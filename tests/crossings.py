"""Rows with media for blocks of streams, without a model around them, and toys that have such blocks."""
from typing import Any

import torch
from torch import Tensor, nn

from mm.keep import Pool
from mm.models import VLM
from mm.sample import PLACEHOLDERS, Sample, Turn
from mm.sample import Media as Shown
from mm.streams import Sources, Stream
from mm.streams.crossing import Crossing, Memory
from mm.tokens import Kind, Role, TokenMap
from tests.vlms import picture, toy


def rows_of(media: Tensor, frame: Tensor | None = None) -> TokenMap:
    """One document a row. media: [B, N], the medium that a token is of, -1 for text. frame: of visual tokens, 0 if left out."""
    visual, ones = media >= 0, torch.ones_like(media)
    place = torch.arange(media.shape[1]).expand_as(media)
    return TokenMap(
        kind=torch.where(visual, int(Kind.VISION), int(Kind.TEXT)), document=ones - 1, branch=ones * 0, media=media,
        frame=torch.where(visual, ones * 0 if frame is None else frame, -1), row=-ones, col=-ones, role=ones * Role.QUESTION, turn=ones * 0,
        position=place, index=place)


def crossing(stream: Stream, media: Sources, goes_on: int = 0) -> Crossing:
    """The pass over whole rows, or over so many tokens behind them."""
    rows, count = media.tokens.shape
    made = Crossing(Memory(media, rows), count if goes_on else 0, goes_on or count, goes_on=goes_on > 0, is_kept=False)
    made.plan = stream.plan(made)
    return made


def opened(module: nn.Module) -> None:
    """Gates as training leaves them: not at 0."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("gate"):
                parameter.fill_(0.8)
            elif parameter.dim() == 2:
                parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(len(name)))


def streamed(stream: Stream, family: str = "llama", *, is_open: bool = True, **settings: Any) -> VLM:
    """The toy with blocks in it: one token a frame in the rows unless `keep` says otherwise, four features a frame for the blocks."""
    plain = toy(family, **settings)
    levers = {"keep": Pool(1), **{name: settings[name] for name in ("mask", "positions", "layout", "reweight", "keep") if name in settings}}
    torch.manual_seed(1)
    vlm = VLM(plain.vision, plain.projector, plain.language, streams=stream, **levers).eval()
    if is_open:
        opened(vlm.streams)
    return vlm


def watching(seed: int = 0, *media: Shown, question: str = "is there a star ?", answer: str = "yes .") -> Sample:
    """A question behind some media."""
    shown = media or (picture(seed),)
    return Sample(f"w{seed}", shown, (Turn(" ".join(PLACEHOLDERS[item.kind] for item in shown) + f" {question}", answer),))
