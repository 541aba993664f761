"""Token maps as one writes them down, token by token."""
import re

from mm.tokens import Kind, TokenMap

TABLES = ("kind", "document", "branch", "media", "frame", "row", "col", "role", "turn", "position")


def written(tokens: TokenMap) -> list[str]:
    """The first row, token by token: . padding, s system, q question, a answer; a visual token as its media, frame, row, col, - where it has none."""
    here = tokens[0]
    return ["".join("-" if value < 0 else str(value) for value in place) if kind == Kind.VISION else ".sqa"[role]
            for kind, role, *place in zip(*(getattr(here, name).tolist() for name in ("kind", "role", "media", "frame", "row", "col")), strict=True)]


def meant(text: str) -> list[str]:
    """`written`, with [01:2x3] for the grid of media 0, frame 1, and [01:2x3n] where its rows end with a newline token."""

    def block(match: re.Match[str]) -> str:
        which, rows, cols, newline = match.groups()
        return " ".join(which + place for row in range(int(rows))
                        for place in [*(f"{row}{col}" for col in range(int(cols))), *(["--"] if newline else [])])

    return re.sub(r"\[(\d\d):(\d)x(\d)(n?)\]", block, text).split()
