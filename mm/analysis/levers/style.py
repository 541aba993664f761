"""What all of these pictures share: colours that people with any colour vision tell apart (Okabe and Ito, 2008), plain axes, files without a date."""
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK, GREY, PALE = "#222222", "#8a8f94", "#dfe3e6"
BLUE, SKY, GREEN, ORANGE, VERMILION, PINK, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#F0E442"
FONT = 10  # points


def figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, drawn without a display."""
    made = Figure(figsize=(width, height), facecolor="white", layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06))
    FigureCanvasAgg(made)
    return made


def bare(axes: Axes, title: str, note: str = "") -> None:
    """No ticks and no frame; the title in bold, a note under it in grey."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(title, fontsize=FONT, fontweight="bold", color=INK, pad=17 if note else 5)
    if note:
        axes.annotate(note, (0.5, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", ha="center", va="bottom",
                      fontsize=FONT - 2, color=GREY)


def save(drawn: Figure, path: Path) -> None:
    """PNG, the same bytes for the same picture."""
    drawn.savefig(path, dpi=120, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None})
