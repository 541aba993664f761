"""PIE-Bench: Ju et al., "PnP Inversion: Boosting Diffusion-based Editing with 3 Lines of Code" (first called Direct Inversion), ICLR 2024.

700 pictures with captions before and after, in ten types of edit, and a mask of what may change. Official layout, the user's own copy:
`mapping_file.json` and `annotation_images/`. The numbers of the types 8 and 9 are from memory.
"""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.edits.editor import Request
from eval.frame.benchmark import Row
from mm.diffusion.metrics import runs_to_mask
from mm.media.errors import BrokenMedia
from mm.media.images import load_image

TYPES = ("random", "change_object", "add_object", "delete_object", "change_content", "change_pose", "change_colour", "change_material",
         "change_background", "change_style")
SIDE = 512  # of the masks
FIELDS = ("image_path", "original_prompt", "editing_prompt", "editing_type_id", "blended_word", "mask")


@dataclass(frozen=True, eq=False)
class Example:
    """prompt, to: captions without brackets. words: those that blend, of source and target, or none. type: a name of `TYPES`. runs: of the mask."""

    id: str
    picture: Path
    prompt: str
    to: str
    words: tuple[str, ...]
    type: str
    instruction: str
    runs: tuple[int, ...]

    def image(self, side: int = SIDE) -> np.ndarray:
        """uint8 [side, side, 3]. BrokenMedia for a file that cannot be read, or that is not square."""
        pixels = load_image(self.picture)
        if pixels.shape[0] != pixels.shape[1]:
            raise BrokenMedia(f"{self.picture} is {pixels.shape[1]} x {pixels.shape[0]} pixels; pictures of PIE-Bench are square, as their masks are")
        if pixels.shape[0] == side:
            return pixels
        return np.array(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))

    def mask(self, side: int = SIDE) -> np.ndarray:
        """bool [side, side], true where the edit may be; the outermost pixels are true, as the evaluator sets them."""
        mask = runs_to_mask(self.runs, SIDE, SIDE, border=False)
        if side != SIDE:
            mask = np.array(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
        mask[[0, -1]] = mask[:, [0, -1]] = True
        return mask

    def request(self, side: int, seed: int) -> Request:
        return Request(self.prompt, self.to, Image.fromarray(self.image(side)), seed, self.words, self.words)

    def row(self) -> Row:
        return {"type": self.type, "before": self.prompt, "after": self.to, "words": list(self.words), "instruction": self.instruction}


def examples(folder: Path, types: tuple[str, ...] = TYPES, limit: int | None = None) -> list[Example]:
    """In official order; `limit` of each type. ValueError naming the item and the field where the copy is not in its official layout."""
    odd = [name for name in types if name not in TYPES]
    if odd:
        raise ValueError(f"PIE-Bench has the types {', '.join(TYPES)}; got {', '.join(odd)}")
    found = [_example(folder, str(id), record) for id, record in _mapping(folder).items()]
    chosen, counts = [], dict.fromkeys(types, 0)
    for example in found:
        if example.type in counts and (limit is None or counts[example.type] < limit):
            counts[example.type] += 1
            chosen.append(example)
    if not chosen:
        raise ValueError(f"{folder} has no edits of the types {', '.join(types)}")
    return chosen


def _mapping(folder: Path) -> dict[str, Any]:
    file = folder / "mapping_file.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {file}: {error}; --data is the folder that holds mapping_file.json and annotation_images") from error
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{file} holds {'nothing' if found == {} else type(found).__name__}, expected an object of items by their numbers")
    return found


def _example(folder: Path, id: str, record: Any) -> Example:
    where = f"PIE-Bench item {id}"
    missing = [field for field in FIELDS if not isinstance(record, dict) or field not in record]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}; mapping_file.json gives each item {', '.join(FIELDS)}")
    number = str(record["editing_type_id"])
    if not number.isdigit() or int(number) >= len(TYPES):
        raise ValueError(f"{where}: editing_type_id is 0 to {len(TYPES) - 1}; got {record['editing_type_id']!r}")
    prompt, to = (bare(record[field]) for field in ("original_prompt", "editing_prompt"))
    if not to:
        raise ValueError(f"{where}: its editing_prompt is empty")
    try:
        runs = tuple(int(value) for value in record["mask"])
        runs_to_mask(runs, SIDE, SIDE)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: mask is a list of starts and lengths of runs ({error})") from error
    return Example(id, folder / "annotation_images" / record["image_path"], prompt, to, blended(record["blended_word"], where), TYPES[int(number)],
                   str(record.get("editing_instruction", "")), runs)


def bare(caption: str) -> str:
    """Without the brackets around what changes, blanks tidied, as edits count words between single ones."""
    return " ".join(caption.replace("[", "").replace("]", "").split())


def blended(words: str, where: str) -> tuple[str, ...]:
    """ "cat dog" → one word of each caption; () for none."""
    found = tuple(words.split())
    if len(found) not in (0, 2):
        raise ValueError(f"{where}: blended_word is empty or a word of each caption, apart by a blank; got {words!r}")
    return found
