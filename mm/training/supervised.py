"""Supervised training of a vision-language model on dialogues: the loss, what trains, how fast."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim import Optimizer

from mm.keep import Keep
from mm.language import Language
from mm.masks import Causal, Mask
from mm.models import VLM, Batch, Dialogue, Layout
from mm.positions import Positions, Sequential
from mm.reweight import Rule
from mm.streams import Projector, Stream
from mm.training.checkpoint import check_fits, load_weights
from mm.training.halt import stop
from mm.training.loader import Drawn
from mm.training.loss import TokenLoss, token_loss
from mm.training.optim import Optim
from mm.training.rates import Group, freeze_others, groups_of, table
from mm.training.schedule import Cosine, Schedule
from mm.vision import FeatureCache, VisionEncoder


class Supervised(lightning.LightningModule):
    """Trains a `VLM` of parts. The parts come as factories and are built in `configure_model`, where the strategy wants them to be.

    train: glob over parameter names → learning rate. What no glob matches is frozen; a glob that matches nothing is an error. Later globs win.
    schedule, optim: how rates go over the run; AdamW and clipping. max_length: longest row, by default what the decoder was made for.
    init_from: run directory (or saved model) whose weights the parts start with, as a second stage does.
    streams: blocks inside the language model; their parameters are `streams.*`.
    feature_cache: where the features of a frozen encoder are kept; ValueError if the encoder trains.
    Gradient checkpointing and compilation by block are options of the language part.

    The loss is exact in tokens: `training_step` returns the weighted *sum* over labelled tokens; gradients are divided once an optimiser step, before
    clipping, by the label weight of all micro-batches on all ranks. A batch without labels adds nothing; a step without labels changes nothing.
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
        super().__init__()
        self.vision, self.projector, self.language = vision, projector, language
        self.levers = mask or Causal(), positions or Sequential(), layout or Dialogue()
        self.rules, self.keep, self.streams = reweight or [], keep, streams
        self.rates, self.schedule, self.optim = train, schedule or Cosine(), optim or Optim()
        self.max_length, self.init_from, self.feature_cache = max_length, init_from, feature_cache
        self.vlm: VLM
        self.groups: list[Group] = []
        self.label_weight: Tensor | float = 0.0  # of the micro-batches since the last optimiser step
        self.last: Batch | None = None
        self.losses: TokenLoss | None = None  # of the last micro-batch, for whoever keeps a journal
        self.gradient_norm = float("nan")  # of the last step, before clipping

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

    def configure_optimizers(self) -> Optimizer:
        return self.optim.build(self.vlm, self.groups)

    def on_fit_start(self) -> None:
        self.print(table(self.vlm, self.rates))

    # --- steps ------------------------------------------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        if self.trainer.max_steps > 0:
            return self.trainer.max_steps
        passes = max(1, self.trainer.max_epochs or 1)
        return passes * -(-int(self.trainer.num_training_batches) // self.trainer.accumulate_grad_batches)

    def loss(self, batch: Batch) -> TokenLoss:
        return token_loss(*self.vlm(batch))

    def training_step(self, drawn: Drawn, index: int) -> Tensor:
        self.last, self.losses = drawn.batch, self.loss(drawn.batch)
        total = self.losses.total
        if not torch.isfinite(total.detach()):
            raise stop("loss", total.item(), drawn.batch, self.global_step, self.folder)
        self.label_weight = self.label_weight + self.losses.weight
        self.trainer.datamodule.consumed(drawn)  # type: ignore[attr-defined]
        return total * self.trainer.accumulate_grad_batches  # undoes Lightning's own division, which knows nothing of tokens

    def validation_step(self, drawn: Drawn, index: int) -> Tensor:
        """[3]: the sums of `TokenLoss`."""
        return torch.stack(self.loss(drawn.batch))

    test_step = validation_step

    def configure_gradient_clipping(self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None) -> None:
        """Divide by the label weight of the step, and clip: one norm, one multiplication. The trainer's own clipping settings are not used."""
        ranks = self.trainer.world_size  # whose gradients have been averaged by now
        local = torch.as_tensor(self.label_weight, device=self.device)
        weight = float(self.trainer.strategy.reduce(local, reduce_op="sum") if ranks > 1 else local)  # type: ignore[arg-type]
        self.label_weight = 0.0
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if weight == 0:
            self.vlm.zero_grad(set_to_none=True)  # AdamW then leaves weights and moments alone
            return
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True) * (ranks / weight)
        if not torch.isfinite(norm):
            raise stop("gradient norm", float(norm), self.last, self.global_step, self.folder)
        limit = self.optim.clip
        torch._foreach_mul_(gradients, ranks / weight * (min(1.0, limit / (float(norm) + 1e-6)) if limit else 1.0))
        self.gradient_norm = float(norm)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.optim.apply(optimizer, self.groups, self.schedule, self.global_step, self.steps)

    # --- checkpoints ------------------------------------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        return Path(self.trainer.default_root_dir)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["trained"] = [name for group in self.groups for name in group.names]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_fits(checkpoint, self)
