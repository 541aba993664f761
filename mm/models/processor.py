"""From samples to batches: placeholders expanded, answers labelled, every position described."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from mm.language.chat import Chat, UnstableTemplateError
from mm.models.batch import UNLABELLED, Batch
from mm.models.layout import Layout
from mm.sample import PLACEHOLDERS, BadSample, Sample
from mm.streams import Places
from mm.tokens import Kind, Role, TokenMap
from mm.vision.resize import Resize

# Tables of a TokenMap in its order, less the index, and what padding holds in them.
PADDING = {
    "kind": int(Kind.PAD), "document": -1, "branch": 0, "media": -1, "frame": -1, "row": -1, "col": -1, "role": int(Role.PAD), "turn": -1,
    "position": 0}
PAD_COLUMN = np.array(list(PADDING.values()), dtype=np.int64)


class Geometry(NamedTuple):
    """What media become. image_size: (H, W) that the encoder takes. places: where the tokens of a medium lie. grid: (rows, cols) of one frame's
    tokens, None if they have none."""

    image_size: tuple[int, int]
    resize: Resize
    places: Places
    grid: tuple[int, int] | None

    @property
    def tokens(self) -> int:
        """Of an image."""
        return self.places(1).shape[1]


@dataclass(frozen=True, eq=False)
class Row:
    """One sample, ready to be batched. input_ids, labels: int64 [N]; weights: float32 [N]; tables: int64 [10, N] in the order of `PADDING`;
    pixels: uint8 [F, 3, H, W]; frames: how many of them each medium has, int64 [M]."""

    id: str
    input_ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    tables: np.ndarray
    pixels: Tensor
    frames: np.ndarray

    def __len__(self) -> int:
        return len(self.input_ids)


class Processor:
    """Makes rows of samples and batches of rows.

    max_length: longest row that is accepted; a longer one is an error, because cutting would part a picture or drop an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, geometry: Geometry, layout: Layout, max_length: int) -> None:
        self.tokenizer, self.geometry, self.layout, self.max_length = tokenizer, geometry, layout, max_length
        self.chat = Chat(tokenizer)
        vocabulary = tokenizer.get_vocab()
        self.pad_id = int(tokenizer.pad_token_id)
        self.placeholders = {kind: vocabulary[token] for kind, token in PLACEHOLDERS.items()}

    def encode(self, sample: Sample) -> Row:
        """A training row, its answers labelled. BadSample naming the sample for whatever does not fit."""
        return self._row(sample, reply=False)

    def prompt(self, sample: Sample) -> Row:
        """A row that ends where the model is to answer the last turn; that turn's answer is not read."""
        return self._row(sample, reply=True)

    def prompts(self, sample: Sample) -> list[Row]:
        """The prompt of every turn, each with what the layout shows the model before it."""
        return [self.prompt(self.layout.alone(sample, turn)) for turn in range(len(sample.turns))]

    @property
    def stop_ids(self) -> list[int]:
        """Tokens that end an answer."""
        return self.chat.stop_ids

    def first_id(self, answer: str) -> int:
        """The token that an answer begins with, as the chat template writes it."""
        tokens = self.chat.tokenise("", (("a", answer),))
        return int(tokens.ids[tokens.answer >= 0][0])

    def _row(self, sample: Sample, reply: bool) -> Row:
        if not sample.turns:
            raise BadSample(sample.id, "it has no turns; a sample asks at least one question")
        try:
            laid = self.layout.lay(self.chat, sample, reply)
        except UnstableTemplateError as error:
            raise BadSample(sample.id, str(error)) from error
        is_media = np.logical_or.reduce([laid.ids == id for id in self.placeholders.values()])
        try:
            places = [self.geometry.places(len(item.frames)) for item in sample.media]
        except ValueError as error:
            raise BadSample(sample.id, str(error)) from error
        counts = self._counts(sample, laid.ids, is_media, places)
        length = int(counts.sum())
        if length > self.max_length:
            raise BadSample(sample.id, f"its row has {length} tokens, {length - len(laid.ids) + len(sample.media)} of them visual, and the limit is "
                                       f"{self.max_length}; use fewer frames or turns, a projector with fewer tokens, or a larger max_length")
        ids, answer, turn, branch = (np.repeat(table, counts) for table in laid)
        is_vision = np.repeat(is_media, counts)
        labels = np.where((answer >= 0) & (not reply), ids, UNLABELLED)
        self._check_labels(sample, labels, branch)
        tables = np.repeat(PAD_COLUMN[:, None], length, axis=1)
        kind, document, branches, media, frame, row, col, role, turns, position = tables
        kind[:] = np.where(is_vision, int(Kind.VISION), int(Kind.TEXT))
        document[:] = 0
        branches[:] = branch
        role[:] = np.where(_answers(answer, turn, branch), int(Role.ANSWER), np.where(turn >= 0, int(Role.QUESTION), int(Role.SYSTEM)))
        turns[:] = turn
        position[:] = np.arange(length)
        if sample.media:
            media[is_vision] = np.repeat(np.arange(len(places)), [place.shape[1] for place in places])
            frame[is_vision], row[is_vision], col[is_vision] = np.concatenate(places, axis=1)
        frames = np.array([len(item.frames) for item in sample.media], dtype=np.int64)
        weight = np.array([each.weight for each in sample.turns] + [0.0], dtype=np.float32)[answer]
        return Row(sample.id, np.where(is_vision, self.pad_id, ids), labels, weight, tables, self._pixels(sample), frames)

    def _counts(self, sample: Sample, ids: np.ndarray, is_media: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
        """How many tokens each laid token becomes: 1, or as many as the picture or clip has. BadSample where placeholders and media differ."""
        kinds = [kind for token in ids[is_media].tolist() for kind, id in self.placeholders.items() if token == id]
        for kind in self.placeholders:
            found, given = kinds.count(kind), sum(item.kind == kind for item in sample.media)
            if found != given:
                raise BadSample(sample.id, f"its text has {found} {PLACEHOLDERS[kind]} placeholder(s) and it comes with {given} {kind}(s); "
                                           "each needs exactly one placeholder in the questions")
        if kinds != [item.kind for item in sample.media]:
            given_kinds = ", ".join(item.kind for item in sample.media)
            raise BadSample(sample.id, f"its placeholders ask for {', '.join(kinds)} and its media are {given_kinds}; put both in the same order")
        counts = np.ones(len(ids), dtype=np.int64)
        counts[is_media] = [place.shape[1] for place in places]
        return counts

    def _check_labels(self, sample: Sample, labels: np.ndarray, branch: np.ndarray) -> None:
        """An answer needs a token before it, on its own path, that predicts its first one."""
        labelled = labels != UNLABELLED
        forks = np.append(True, (branch[1:] != branch[:-1]) & (branch[:-1] != 0))
        if (labelled & forks).any():
            raise BadSample(sample.id, "an answer stands at the very beginning of its row or branch, where no token predicts it; "
                                       "use a chat template with a role marker before answers")

    def _pixels(self, sample: Sample) -> Tensor:
        size = self.geometry.image_size
        if not sample.media:
            return torch.empty(0, 3, *size, dtype=torch.uint8)
        try:
            frames = [self.geometry.resize(item.frames, size) for item in sample.media]
        except ValueError as error:
            raise BadSample(sample.id, str(error)) from error
        return frames[0] if len(frames) == 1 else torch.cat(frames)

    def collate(self, rows: Sequence[Row], left: bool = False) -> Batch:
        """Pads rows on the right, or on the left for generation."""
        if not rows:
            raise ValueError("a batch needs at least one row")
        length = max(map(len, rows))
        shape = (len(rows), length)
        ids, labels, weights = np.full(shape, self.pad_id), np.full(shape, UNLABELLED), np.zeros(shape, dtype=np.float32)
        tables = np.broadcast_to(PAD_COLUMN[:, None, None], (len(PADDING), *shape)).copy()
        for b, row in enumerate(rows):
            span = slice(length - len(row), length) if left else slice(0, len(row))
            ids[b, span], labels[b, span], weights[b, span], tables[:, b, span] = row.input_ids, row.labels, row.weights, row.tables
        described = [*map(torch.from_numpy, tables), torch.arange(length).expand(shape)]
        return Batch(
            tuple(row.id for row in rows), torch.from_numpy(ids), torch.from_numpy(labels), torch.from_numpy(weights),
            TokenMap(*described), torch.cat([row.pixels for row in rows]), torch.from_numpy(np.concatenate([row.frames for row in rows])),
            vision_at=torch.from_numpy(np.flatnonzero(tables[0] == Kind.VISION)),
            predict_at=torch.from_numpy(np.flatnonzero(labels != UNLABELLED) - 1))


def pack(rows: Sequence[Row]) -> Row:
    """Several rows as documents of one row; no mask lets them see each other. A row's first token must be unlabelled, which prompts see to."""
    tables = [row.tables.copy() for row in rows]
    documents = 0
    for table in tables:
        table[1] += documents
        documents = int(table[1].max()) + 1
    ids, labels, weights = (np.concatenate(parts) for parts in zip(*((row.input_ids, row.labels, row.weights) for row in rows), strict=True))
    pixels = torch.cat([row.pixels for row in rows])
    frames = np.concatenate([row.frames for row in rows])
    return Row("+".join(row.id for row in rows), ids, labels, weights, np.concatenate(tables, axis=1), pixels, frames)


def _answers(answer: np.ndarray, turn: np.ndarray, branch: np.ndarray) -> np.ndarray:
    """Answer tokens, and what the template writes behind them in the same turn: it has read the answer, so a mask must not take it for a prompt."""
    latest = np.maximum.accumulate(np.where(answer >= 0, np.arange(len(answer)), -1))
    return (latest >= 0) & (turn[latest] == turn) & (branch[latest] == branch)
