"""Supervised training of a vision-language model on dialogues: the loss, what trains, how fast."""
from collections.abc import Callable
from pathlib import Path

from torch import nn

from mm.keep import Keep
from mm.language import Language
from mm.masks import Causal, Mask
from mm.models import VLM, Batch, Dialogue, Layout
from mm.models.processor import Processor
from mm.positions import Positions, Sequential
from mm.reweight import Rule
from mm.streams import Projector, Stream
from mm.training.checkpoint import load_weights
from mm.training.exact import ExactSteps
from mm.training.loss import TokenLoss, token_loss
from mm.training.optim import Optim
from mm.training.rates import freeze_others, groups_of
from mm.training.schedule import Schedule
from mm.training.tally import Tokens
from mm.vision import FeatureCache, VisionEncoder


class Supervised(ExactSteps):
    """Trains a `VLM` of parts. The parts come as factories and are built in `configure_model`, where the strategy wants them to be.

    train: glob over parameter names → learning rate. What no glob matches is frozen; a glob that matches nothing is an error. Later globs win.
    schedule, optim: how rates go over the run; AdamW and clipping. max_length: longest row, by default what the decoder was made for.
    init_from: run directory (or saved model) whose weights the parts start with, as a second stage does.
    streams: blocks inside the language model; their parameters are `streams.*`.
    feature_cache: where the features of a frozen encoder are kept; ValueError if the encoder trains.
    Gradient checkpointing and compilation by block are options of the language part.

    The loss is exact in tokens: the sums of `ExactSteps` run over labelled tokens, and the weight is that of the labels.
    """

    def __init__(
        self,
        vision: Callable[[], VisionEncoder],
        projector: Callable[[int, int], Projector],
        language: Callable[[], Language],
        train: dict[str, float],
        mask: Mask | None = None,
        positions: Positions | None = None,
        layout: Layout | None = None,
        schedule: Schedule | None = None,
        optim: Optim | None = None,
        reweight: list[Rule] | None = None,
        keep: Keep | None = None,
        max_length: int | None = None,
        init_from: str | None = None,
        feature_cache: FeatureCache | None = None,
        streams: Stream | None = None,
    ) -> None:
        super().__init__(train, schedule, optim)
        self.tally = Tokens()
        self.vision, self.projector, self.language = vision, projector, language
        self.levers = mask or Causal(), positions or Sequential(), layout or Dialogue()
        self.rules, self.keep, self.streams = reweight or [], keep, streams
        self.max_length, self.init_from, self.feature_cache = max_length, init_from, feature_cache
        self.vlm: VLM

    # --- parts ------------------------------------------------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        if hasattr(self, "vlm"):
            return
        encoder, decoder = self.vision(), self.language()
        self.vlm = VLM(encoder, self.projector(encoder.width, decoder.width), decoder, *self.levers, max_length=self.max_length,
                       reweight=self.rules, keep=self.keep, streams=self.streams)
        if self.init_from is not None:
            load_weights(self.vlm, Path(self.init_from))
        freeze_others(self.vlm, self.rates)
        if self.feature_cache is not None:
            self.feature_cache.check_frozen(encoder)
            encoder.cache = self.feature_cache
        self.groups = groups_of(self.vlm, self.rates)

    @property
    def parts(self) -> nn.Module:
        return self.vlm

    @property
    def processor(self) -> Processor:  # type: ignore[override]
        return self.vlm.processor

    def loss(self, batch: Batch) -> TokenLoss:
        return token_loss(*self.vlm(batch))

    def save(self, folder: Path) -> None:
        self.vlm.save(folder / "model")
