"""What a trained model's mask lets each token of a prompt see, and where its positions put the picture."""
from dataclasses import dataclass
from pathlib import Path

from eval.frame.world import pictures
from mm.models import VLM
from mm.sample import Sample, Turn

QUESTION, ANSWER = "<image>\nis there a star ?", "yes"


@dataclass(frozen=True)
class Seeing:
    """visible: a string of 0 and 1 for each token of the row, one character for each token that it may see. picture: index of the picture's first
    token and of the first one behind it. places: position of each place of the picture, row by row."""

    visible: tuple[str, ...]
    picture: tuple[int, int]
    places: tuple[tuple[int, ...], ...]


def seeing(run: Path) -> Seeing:
    """Of a question about a test picture with its answer, as the model of the run reads it."""
    vlm = VLM.load(run)
    row = vlm.processor.encode(Sample("sight", pictures(1)[0].media(), (Turn(QUESTION, ANSWER),)))
    tokens = vlm.processor.collate([row]).tokens
    placed = tokens.at(vlm.positions.assign(tokens))
    visible = vlm.mask.dense(placed)[0, 0].int().tolist()
    image = tokens.is_vision[0].nonzero().flatten()
    rows, cols = (int(table[0, image].max()) + 1 for table in (tokens.row, tokens.col))
    places = placed.position[0, image].view(rows, cols).tolist()
    return Seeing(tuple("".join(map(str, line)) for line in visible), (int(image[0]), int(image[-1]) + 1), tuple(map(tuple, places)))
