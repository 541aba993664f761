"""Stand-ins for what judges of edits work with: editors that know the answer, encoders without weights, a PIE-Bench of four pictures."""
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.world.edits import Edit
from data.world.render import object_mask, render
from data.world.scene import CELL, Scene
from eval.edits.editor import Request
from eval.edits.world import Pair


@dataclass(frozen=True)
class Made:
    source: np.ndarray
    edited: np.ndarray
    plain: np.ndarray
    mask: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Scripted:
    """An editor that makes of a request what `make` says, and remembers what it was asked."""

    make: Callable[[Request], Made]
    asked: list[Request] = field(default_factory=list)

    def __call__(self, requests: Sequence[Request], /) -> list[Made]:
        self.asked += requests
        return [self.make(request) for request in requests]


@dataclass(frozen=True)
class Seen:
    shape: str
    colour: str
    row: float
    col: float
    mask: np.ndarray


class Oracle:
    """Recognises pictures that it was told of, by their pixels."""

    def __init__(self) -> None:
        self.known: dict[bytes, Scene] = {}

    def drawn(self, scene: Scene) -> np.ndarray:
        picture = render(scene)
        self.known[picture.tobytes()] = scene
        return picture

    def __call__(self, picture: np.ndarray, /) -> list[Seen]:
        return [Seen(thing.shape, thing.colour, CELL * thing.row, CELL * thing.col, object_mask(thing))
                for thing in self.known[picture.tobytes()].objects]


def perfect(oracle: Oracle, asked: Sequence[Pair], plain: Callable[[Edit], Scene] = lambda edit: edit.after) -> Scripted:
    """An editor of the world that changes what was asked for and nothing else. plain: what it draws without control."""
    known = {(pair.prompt, pair.seed): pair for pair in asked}

    def make(request: Request) -> Made:
        pair = known[request.prompt, request.seed]
        assert request.to == pair.to
        edit = pair.edit
        heat = edit.mask[::8, ::8]
        return Made(oracle.drawn(edit.before), oracle.drawn(edit.after), oracle.drawn(plain(edit)), edit.mask > 0, dict.fromkeys(request.words, heat))

    return Scripted(make)


class RandomCLIP:
    """Pictures by a random projection of their mean colours over a grid, texts by a random vector each."""

    def encode_images(self, pictures: Sequence[np.ndarray]) -> Tensor:
        weight = torch.randn(48, 16, generator=torch.Generator().manual_seed(0))
        stacked = torch.stack([torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255 for picture in pictures])
        return torch.nn.functional.adaptive_avg_pool2d(stacked, 4).flatten(1) @ weight

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([torch.randn(16, generator=torch.Generator().manual_seed(zlib.crc32(text.encode()))) for text in texts])


def pie_bench(folder: Path, types: Sequence[int] = (1, 1, 6, 8), side: int = 64) -> Path:
    """A copy in the official layout: pictures of noise, a mask of four runs each."""
    (folder / "annotation_images/0").mkdir(parents=True)
    mapping = {}
    for number, type_id in enumerate(types):
        name = f"0/{number:03d}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "annotation_images" / name)
        mapping[f"{number:012d}"] = {
            "image_path": name, "original_prompt": "a [cat] on a mat", "editing_prompt": "a [dog]  on a mat", "editing_type_id": str(type_id),
            "editing_instruction": "Change the cat to a dog", "blended_word": "cat dog" if number % 2 == 0 else "",
            "mask": [value for row in range(100, 300) for value in (512 * row + 128, 256)]}
    (folder / "mapping_file.json").write_text(json.dumps(mapping))
    return folder


def inverted(request: Request) -> Made:
    """An edit that turns every colour round."""
    assert request.image is not None
    pixels = np.array(request.image)
    return Made(pixels, 255 - pixels, 255 - pixels, None, {word: np.eye(4, dtype=np.float32) for word in request.words})
