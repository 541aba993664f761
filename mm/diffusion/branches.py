"""Which row of the denoiser's batch is what: samplers differ, and half the batch is a guess that is often wrong."""
from dataclasses import dataclass
from typing import Literal, Self

Negatives = Literal["nothing", "own", "source"]
"""What negative rows take: nothing; what the source's negative row has, each half of guidance for itself; or what its conditional row has."""


@dataclass(frozen=True)
class Row:
    """prompt: its index among the prompts; 0 is the source. image: which picture of the prompt. conditional: reads the prompt, not the negative one.
    Edits act on conditional rows of prompts other than the source.
    """

    prompt: int
    image: int = 0
    conditional: bool = True


@dataclass(frozen=True)
class Branches:
    """rows: of one call of the denoiser, in order. A sampler that calls it several times a step has a `Branches` for each call.

    A row may come again: InstructPix2Pix has two negative ones of each prompt, perturbed-attention guidance each conditional one a second time. The
    first of them then takes from the source's first, the second from its second.
    """

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        if any(row.conditional for row in self.rows) and self.edited and any(partner is None for partner in self.partners):
            raise ValueError(f"every edited row needs the source's row (prompt 0, same picture) in the same call; got {self.rows}")

    @classmethod
    def guided(cls, prompts: int, images: int = 1) -> Self:
        """[negative | conditional], prompt-major: Stable Diffusion, SDXL, SD3, PixArt, Sana. images: `num_images_per_prompt`."""
        return cls(cls._half(prompts, images, False) + cls._half(prompts, images, True))

    @classmethod
    def conditional_first(cls, prompts: int, images: int = 1) -> Self:
        """[conditional | negative]."""
        return cls(cls._half(prompts, images, True) + cls._half(prompts, images, False))

    @classmethod
    def unguided(cls, prompts: int, images: int = 1) -> Self:
        """Conditional rows only: guidance-distilled models (Flux), guidance scale 1, or the conditional one of two separate calls."""
        return cls(cls._half(prompts, images, True))

    @classmethod
    def negative(cls, prompts: int, images: int = 1) -> Self:
        """Negative rows only: the other of two separate calls (true guidance of Flux and Qwen-Image)."""
        return cls(cls._half(prompts, images, False))

    @staticmethod
    def _half(prompts: int, images: int, conditional: bool) -> tuple[Row, ...]:
        return tuple(Row(prompt, image, conditional) for prompt in range(prompts) for image in range(images))

    @property
    def edited(self) -> tuple[int, ...]:
        """Rows that edits act on."""
        return tuple(index for index, row in enumerate(self.rows) if row.conditional and row.prompt > 0)

    def taking(self, negatives: Negatives) -> tuple[tuple[int, int], ...]:
        """(row, the source's row that it takes from) for each edited row, and for the negative rows of the same prompts as `negatives` says."""
        pairs = [(index, self._like(index, Row(0, row.image, row.conditional or negatives == "source"))) for index, row in enumerate(self.rows)
                 if row.prompt > 0 and (row.conditional or negatives != "nothing")]
        return tuple((index, partner) for index, partner in pairs if partner is not None)

    def _like(self, index: int, source: Row) -> int | None:
        """Where `source` comes for the time that the row at `index` comes, or for the last."""
        time = self.rows[:index].count(self.rows[index])
        places = [place for place, row in enumerate(self.rows) if row == source]
        return places[min(time, len(places) - 1)] if places else None

    @property
    def prompts(self) -> int:
        """Prompts that these rows are of."""
        return max((row.prompt for row in self.rows), default=-1) + 1

    @property
    def partners(self) -> tuple[int | None, ...]:
        """The source's row for each edited row, None where this call has none."""
        return tuple(self._like(index, Row(0, self.rows[index].image, True)) for index in self.edited)
