"""Every word of the world: shapes, colours, and all that questions, captions and answers are made of.

The lists are ordered: an index into `SHAPES` or `COLOURS` is what distributions and mask tables use.
"""
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "moon", "arrow", "hexagon", "bar")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
RGB = ((220, 40, 40), (40, 180, 60), (50, 80, 220), (230, 210, 50), (150, 60, 190), (240, 140, 40), (60, 200, 210), (240, 240, 240))
NUMBERS = ("one", "two", "three", "four", "five")
NONSENSE = ("dax", "wif", "blick", "toma", "fep", "zup", "lurm", "kade")  # labels of in-context episodes: they mean nothing beforehand
CONTEXTS = ("stripes", "checker", "diagonals", "rings")  # names of the four backgrounds; no question says them

DESCRIBE = "describe the image ."
NAME = "label ?"
YES, NO = "yes", "no"

GRAMMAR = (
    "is", "are", "there", "a", "an", "the", "in", "image", "and", "object", "objects", "left", "right", "of", "above", "below",
    "describe", "label", "which", "shape", "came", "first", "second", YES, NO, ".", ",", "?")
WORDS = GRAMMAR + SHAPES + COLOURS + NUMBERS + NONSENSE

# Lines as CHAIR reads them: the first word names the category, the others are further words for it.
SYNONYMS = (
    "circle, disc, disk, dot, ball",
    "square, box, block",
    "triangle, wedge, pyramid",
    "star, asterisk, pentagram",
    "cross, plus, crosshair",
    "ring, donut, doughnut, hoop",
    "heart, sweetheart, valentine",
    "diamond, rhombus, lozenge",
    "moon, crescent, halfmoon",
    "arrow, pointer, arrowhead",
    "hexagon, hex, honeycomb",
    "bar, stick, rod, dash",
)


def a(noun: str) -> str:
    """The noun (phrase) with its article: "a star", "an orange ring"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
