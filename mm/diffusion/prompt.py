"""A prompt as the denoiser reads it: tokens of one or several text encoders, side by side on the key axis."""
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Span:
    """Tokens of one text encoder. start: their first key. length: keys that the encoder always fills, padding included. ids, pieces: of the real
    tokens, with the encoder's start and end tokens; `pieces[i]` is what `ids[i]` decodes to, stripped of blanks and of marks of word boundaries.
    before, after: how many of the real tokens stand before and behind the text itself (1 and 1 for CLIP, 0 and 1 for T5).
    """

    start: int
    length: int
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    before: int = 1
    after: int = 1

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.pieces) or len(self.ids) > self.length:
            raise ValueError(f"a span of {self.length} keys cannot hold {len(self.ids)} tokens in {len(self.pieces)} pieces; "
                             "shorten the prompt or raise the encoder's length")


@dataclass(frozen=True)
class Prompt:
    """text: as given. spans: in the order of the key axis, without gaps; one for SD and SDXL (whose two encoders cut alike), CLIP and T5 for SD3."""

    text: str
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        ends = [0, *(span.start + span.length for span in self.spans)]
        if any(span.start != end for span, end in zip(self.spans, ends, strict=False)):
            raise ValueError(f"spans of {self.text!r} start at {[span.start for span in self.spans]}, expected {ends[:-1]}: no gaps, no overlaps")

    @property
    def keys(self) -> int:
        """Text keys in all."""
        return sum(span.length for span in self.spans)


def comparable(prompts: tuple[Prompt, ...]) -> None:
    """ValueError unless all prompts lay out the key axis alike."""
    for one, other in pairwise(prompts):
        layouts = [[(span.start, span.length) for span in prompt.spans] for prompt in (one, other)]
        if layouts[0] != layouts[1]:
            raise ValueError(f"prompts {one.text!r} and {other.text!r} have keys at {layouts[0]} and {layouts[1]}; encode them with the same lengths")
