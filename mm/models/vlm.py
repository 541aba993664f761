"""A vision-language model assembled from parts: encoder, projector, decoder, and the levers that say who sees whom and where tokens are."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm.keep import All, Keep
from mm.language.base import Language
from mm.language.streams import Streams, insert
from mm.masks import Causal, Mask
from mm.models import save
from mm.models.batch import Batch, Output
from mm.models.generate import generated
from mm.models.layout import Dialogue, Layout
from mm.models.modes import evaluating
from mm.models.picture_sets import seen_by
from mm.models.processor import Geometry, Processor, Row
from mm.positions import Positions, Sequential
from mm.reweight import Rule
from mm.sample import Sample
from mm.streams import Placeless, Projector, Sources, Stream
from mm.vision import VisionEncoder


class VLM(nn.Module):
    """Frames → encoder → projector → tokens in the places of the placeholders → decoder.

    Args:
        vision, projector, language: the parts; the projector's widths must be those of its neighbours.
        mask, positions, reweight: levers; may be swapped at any time (`mm.steer`). Rules that train are parts like the others.
        keep: what the projector gets to see of the encoder's features.
        layout: how the turns of a sample share a row.
        max_length: longest row that is accepted, by default what the decoder was made for.
        streams: blocks inside the decoder that read the encoder's features directly; they are a part like the others.
    """

    def __init__(self, vision: VisionEncoder, projector: Projector, language: Language, mask: Mask | None = None, positions: Positions | None = None,
                 layout: Layout | None = None, max_length: int | None = None, reweight: Sequence[Rule] | None = None,
                 keep: Keep | None = None, streams: Stream | None = None) -> None:
        super().__init__()
        for name, found, expected in (("in_width", projector.in_width, vision.width), ("out_width", projector.out_width, language.width)):
            if found != expected:
                raise ValueError(f"{type(projector).__name__}.{name} is {found}, and its neighbour has width {expected}; "
                                 f"build it as {type(projector).__name__}({vision.width}, {language.width}, ...)")
        vision.check(projector.levels)
        self.vision, self.projector, self.language = vision, projector, language
        self.mask, self.positions = mask or Causal(), positions or Sequential()
        self.reweight = language.rules(reweight or ())
        self.streams: Streams | None = None if streams is None else insert(language.model, streams, vision.width)
        self.max_length = max_length or int(getattr(language.config, "max_position_embeddings", 0)) or 2**20
        self._keep, self._layout = keep or All(), layout or Dialogue()
        self.processor = self._processor()

    @property
    def keep(self) -> Keep:
        return self._keep

    @keep.setter
    def keep(self, keep: Keep) -> None:
        """Placeholders are expanded to as many tokens as are kept, so the processor follows. ValueError where the grid or the projector does not fit
        it; nothing has changed then."""
        before, self._keep = self._keep, keep
        try:
            self.processor = self._processor()
        except ValueError:
            self._keep = before
            raise

    @property
    def layout(self) -> Layout:
        return self._layout

    @layout.setter
    def layout(self, layout: Layout) -> None:
        """The processor lays rows out, so it follows."""
        self._layout = layout
        self.processor = self._processor()

    def _processor(self) -> Processor:
        return Processor(self.language.tokenizer, self.geometry, self.layout, self.max_length)

    @property
    def geometry(self) -> Geometry:
        grid, size = self.vision.grid, self.vision.image_size
        kept, place = self.keep.num_tokens(grid), self.keep.out_grid(grid)
        inner = place or (1, kept)  # features without a place are a row
        places = self.projector.places(inner) if place else Placeless(self.projector.places(inner))
        return Geometry(size, self.vision.resize, places, self.projector.out_grid(inner) if place else None)

    @property
    def device(self) -> torch.device:
        return self.language.model.device

    def forward(self, batch: Batch) -> Output:
        """Logits at the rows that predict a labelled token, and only there: the head is the widest map of a model."""
        hidden = self.hidden(batch, batch.predict_at)
        return Output(self.language.head(hidden).float(), batch.targets, batch.target_weights)

    def hidden(self, batch: Batch, rows: Tensor | None = None) -> Tensor:
        """Hidden states before the head, [B, N, width]; [R, width] at `rows`, indices into the flattened tokens, if given, which costs less."""
        position_ids, (embeds, sources) = self.positions.assign(batch.tokens), self.read(batch)
        rules = seen_by(self.reweight, self, batch)
        return self.language(embeds, self.mask, batch.tokens.at(position_ids), position_ids, rules, rows, sources)

    def embed(self, batch: Batch) -> Tensor:
        """Text embeddings with the media's tokens in their places, [B, N, width]. All frames of the batch go through the encoder at once."""
        return self.read(batch)[0]

    def read(self, batch: Batch) -> tuple[Tensor, Sources | None]:
        """The embeddings, and what the blocks of the streams read besides, None without streams or media."""
        text = self.language.embed(batch.input_ids)
        if not len(batch.pixels):
            return text, None
        grid, frames = self.vision.grid, batch.frames.tolist()
        features = self.vision(batch.pixels, self.projector.levels)
        kept = self.keep(features, grid)
        vision = self.projector.project(kept, self.keep.out_grid(grid) or (1, kept.shape[1]), frames)
        if len(vision) != len(batch.vision_at):
            raise ValueError(f"{len(batch.pixels)} frames gave {len(vision)} tokens, and the batch that begins with sample {batch.ids[0]!r} has room "
                             f"for {len(batch.vision_at)}; make its rows with this model's processor")
        sources = None if self.streams is None else self.streams.stream.read(features[..., :self.vision.width], grid, frames, batch.tokens)
        return text.flatten(0, 1).index_copy(0, batch.vision_at, vision.to(text.dtype)).view_as(text), sources

    def generate(self, samples: Sequence[Row | Sample], max_new_tokens: int = 64, num_beams: int = 1, do_sample: bool = False,
                 temperature: float = 1.0, seed: int = 0) -> list[str]:
        """The answers to the samples' last questions, decoded together; each is what it would be alone.

        Greedy by default, beam search with `num_beams`, sampling from `seed` with `do_sample`. Samples are turned into prompts; rows are prompts
        already.
        """
        return self.text_of(generated(self, self._batch(samples, left=True), max_new_tokens, num_beams, do_sample, temperature, seed))

    def generate_ids(self, samples: Sequence[Row | Sample], max_new_tokens: int = 64) -> list[list[int]]:
        """The greedy answers of `generate` as tokens, each with the one that ended it."""
        return generated(self, self._batch(samples, left=True), max_new_tokens, 1, False, 1.0, 0)

    def text_of(self, answers: Sequence[Sequence[int]]) -> list[str]:
        """The tokens of answers as text, without special ones."""
        return [text.strip() for text in self.language.tokenizer.batch_decode([list(ids) for ids in answers], skip_special_tokens=True)]

    @torch.no_grad()
    def next_token_logits(self, samples: Sequence[Row | Sample]) -> Tensor:
        """Logits of the first answer token, float32 [B, vocabulary]: one pass over the prompts, nothing decoded."""
        with evaluating(self):
            batch = self._batch(samples, left=False)
            last = batch.tokens.is_real.sum(1) - 1
            hidden = self.hidden(batch)[torch.arange(len(last), device=last.device), last]
            return self.language.head(hidden).float()

    def score(self, samples: Sequence[Row | Sample], candidates: Sequence[str]) -> Tensor:
        """Log-probability that the answer begins with the first token of each candidate, [B, candidates]. ValueError where two begin alike."""
        ids = [self.processor.first_id(candidate) for candidate in candidates]
        if len(set(ids)) < len(ids):
            raise ValueError(f"the candidates {list(candidates)} begin with the tokens {ids}, so the first token does not tell them apart; "
                             "generate answers instead")
        return self.next_token_logits(samples).log_softmax(-1)[:, ids]

    def _batch(self, samples: Sequence[Row | Sample], left: bool) -> Batch:
        rows = [self.processor.prompt(item) if isinstance(item, Sample) else item for item in samples]
        return self.processor.collate(rows, left).to(self.device)

    def save(self, directory: str | Path) -> None:
        """Writes config.json, model.safetensors and tokenizer/. A failure, a full disk included, leaves an earlier save as it was."""
        save.save(self, Path(directory))

    @classmethod
    def load(cls, directory: str | Path, allow: Sequence[str] = ("mm.",)) -> "VLM":
        """The model in `directory`, or in its `model/` if it is a run directory, in evaluation mode.

        ValueError naming what weights are missing, unexpected or misshapen.
        allow: import paths that the saved configuration may name; parts from elsewhere are code that is run.
        """
        return save.load(cls, Path(directory), allow)

    def rebuild(self) -> dict[str, Any]:
        return save.description(self)
