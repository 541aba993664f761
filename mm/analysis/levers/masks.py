"""Masks as matrices: the same small prompt under each mask, a row for each token that looks, a column for each that is seen."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mm.analysis.levers.style import BLUE, FONT, GREEN, GREY, INK, ORANGE, PALE, PINK, SKY, bare, figure
from mm.masks import (
    Causal,
    Composite,
    ContextBidirectional,
    Document,
    ImageBlock,
    Mask,
    ModalityMutual,
    PositionCausal,
    Power,
    Prefix,
    PrefixTree,
    SinkWindow,
)
from mm.positions import Concentric, Positions, Restart, ReverseRaster
from mm.tokens import Kind, Role, TokenMap

SIDE = 4  # rows and columns of the image


class Run(NamedTuple):
    """Tokens of one kind, side by side."""

    label: str
    role: Role
    turn: int
    length: int
    colour: str


PROMPT = (Run("system", Role.SYSTEM, -1, 2, GREY), Run("image", Role.QUESTION, 0, SIDE * SIDE, GREEN), Run("question 1", Role.QUESTION, 0, 3, SKY),
          Run("answer 1", Role.ANSWER, 0, 3, PINK), Run("question 2", Role.QUESTION, 1, 3, SKY), Run("answer 2", Role.ANSWER, 1, 3, PINK))


class Panel(NamedTuple):
    """branches: the two turns are branches of one trunk instead of following each other."""

    title: str
    note: str
    mask: Mask
    positions: Positions = Restart()
    branches: bool = False


PANELS = (
    Panel("Causal", "what came before", Causal()),
    Panel("ImageBlock", "an image sees itself (Gemma 3)", ImageBlock()),
    Panel("PositionCausal", "with Concentric: CCA", PositionCausal(), Concentric()),
    Panel("PositionCausal", "with ReverseRaster", PositionCausal(), ReverseRaster()),
    Panel("ModalityMutual", "an image reads its question (AKI)", ModalityMutual()),
    Panel("Prefix", "the prompt of each turn (PaliGemma)", Prefix()),
    Panel("ContextBidirectional", "all before answer 1; also CrocMixed", ContextBidirectional()),
    Panel("Composite", "an image token sees itself (EE-MLLM)", Composite()),
    Panel("SinkWindow(2, 6)", "first and latest (StreamingLLM)", SinkWindow(2, 6)),
    Panel("Power(2, 1, 2)", "blocks at distances 1, 2, 4, 8 …", Power(2, 1, 2)),
    Panel("PrefixTree", "turns as branches (Prefix Grouper)", PrefixTree(), branches=True),
    Panel("Document", "an encoder over a packed row", Document()),
)
PAST, LATER, LOST = BLUE, ORANGE, PALE


def mask_matrices(panels: Sequence[Panel] = PANELS, columns: int = 4) -> Figure:
    """One panel a mask."""
    rows = -(-len(panels) // columns)
    drawn = figure(2.75 * columns, 3.1 * rows + 0.7)
    grid = drawn.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index < len(panels):
            draw(axes, panels[index], names=index % columns == 0)
        else:
            axes.set_axis_off()
    seen = [Patch(color=PAST, label="sees a token before it, or itself"), Patch(color=LATER, label="sees a token after it"),
            Patch(color=LOST, label="hidden, though it came before")]
    drawn.legend(handles=seen, title="a token (row) and what it sees (columns, in the same order)", title_fontsize=FONT, loc="outside lower center",
                 ncols=3, frameon=False, fontsize=FONT)
    return drawn


def draw(axes: Axes, panel: Panel, names: bool) -> None:
    """names: label the rows."""
    tokens = prompt(panel.branches)
    tokens = tokens.at(panel.positions.assign(tokens))
    seen = panel.mask.dense(tokens)[0, 0]
    before = torch.ones_like(seen).tril()
    cells = torch.ones(*seen.shape, 3)
    for where, colour in ((seen & before, PAST), (seen & ~before, LATER), (~seen & before, LOST)):
        cells[where] = torch.tensor(to_rgb(colour))
    count = len(seen)
    axes.imshow(cells.numpy(), interpolation="nearest", extent=(0, count, count, 0))
    for line in range(1, count):
        axes.axhline(line, color="white", linewidth=0.35)
        axes.axvline(line, color="white", linewidth=0.35)
    start = 0
    for run in PROMPT:
        middle = start + run.length / 2
        axes.add_patch(Rectangle((-1.5, start + 0.1), 1, run.length - 0.2, color=run.colour, linewidth=0))
        axes.add_patch(Rectangle((start + 0.1, count + 0.5), run.length - 0.2, 1, color=run.colour, linewidth=0))
        if start:
            axes.plot([0, count], [start, start], [start, start], [0, count], color=INK, linewidth=0.5, alpha=0.6)
        if names:
            axes.text(-2.1, middle, run.label, ha="right", va="center", fontsize=FONT - 2, color=INK)
        start += run.length
    axes.set_xlim(-1.6, count + 0.1)
    axes.set_ylim(count + 1.6, -0.1)
    bare(axes, panel.title, panel.note)


def prompt(branches: bool = False) -> TokenMap:
    """The prompt as a map of one row. branches: system and image are the trunk, and each turn a branch that counts as its first."""
    table: dict[str, list[int]] = {name: [] for name in ("kind", "document", "branch", "media", "frame", "row", "col", "role", "turn")}
    for run in PROMPT:
        image, in_branch = run.label == "image", branches and run.label[-1].isdigit()
        for place in range(run.length):
            values = (Kind.VISION if image else Kind.TEXT, 0, run.turn + 1 if in_branch else 0, 0 if image else -1, 0 if image else -1,
                      place // SIDE if image else -1, place % SIDE if image else -1, run.role, 0 if in_branch else run.turn)
            for name, value in zip(table, values, strict=True):
                table[name].append(int(value))
    order = torch.arange(len(table["kind"]))[None]
    return TokenMap(**{name: torch.tensor([values]) for name, values in table.items()}, position=order, index=order)
