"""What every training here has in common: a loss that is exact however a step is divided, rates by schedule, checkpoints that fit."""
from abc import abstractmethod
from pathlib import Path
from typing import Any, Protocol

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mm.training.checkpoint import check_fits
from mm.training.halt import stop
from mm.training.loader import Drawn
from mm.training.optim import Optim
from mm.training.rates import Group, table
from mm.training.schedule import Cosine, Schedule
from mm.training.tally import Tally


class Losses(Protocol):
    """Sums over what a batch teaches. total: of the losses, with gradient; weight: of what was summed. Further sums may follow."""

    @property
    def total(self) -> Tensor: ...

    @property
    def weight(self) -> Tensor: ...


class ExactSteps(lightning.LightningModule):
    """`training_step` returns the weighted *sum* of the losses; gradients are divided once an optimiser step, before clipping, by the weight of all
    micro-batches on all ranks. A batch that teaches nothing adds nothing; a step without any changes nothing.

    train: glob over names of the parameters of `parts` → learning rate.
    """

    tally: Tally  # what the journal counts
    processor: Any  # makes rows of samples and batches of rows

    def __init__(self, train: dict[str, float], schedule: Schedule | None, optim: Optim | None) -> None:
        super().__init__()
        self.rates, self.schedule, self.optim = train, schedule or Cosine(), optim or Optim()
        self.groups: list[Group] = []
        self.label_weight: Tensor | float = 0.0  # of the micro-batches since the last optimiser step
        self.last: Any = None  # batch
        self.losses: Any = None  # of the last micro-batch, for whoever keeps a journal
        self.gradient_norm = float("nan")  # of the last step, before clipping

    @property
    @abstractmethod
    def parts(self) -> nn.Module:
        """What `train` names the parameters of."""

    @abstractmethod
    def loss(self, batch: Any) -> Losses: ...

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the trained model into the directory of the run."""

    def configure_optimizers(self) -> Optimizer:
        return self.optim.build(self.parts, self.groups)

    def on_fit_start(self) -> None:
        self.print(table(self.parts, self.rates))

    # --- steps ------------------------------------------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        if self.trainer.max_steps > 0:
            return self.trainer.max_steps
        passes = max(1, self.trainer.max_epochs or 1)
        return passes * -(-int(self.trainer.num_training_batches) // self.trainer.accumulate_grad_batches)

    def training_step(self, drawn: Drawn, index: int) -> Tensor:
        self.last, self.losses = drawn.batch, self.loss(drawn.batch)
        total = self.losses.total
        if not torch.isfinite(total.detach()):
            raise stop("loss", total.item(), drawn.batch, self.global_step, self.folder)
        self.label_weight = self.label_weight + self.losses.weight
        self.trainer.datamodule.consumed(drawn)  # type: ignore[attr-defined]
        return total * self.trainer.accumulate_grad_batches  # undoes Lightning's own division, which knows nothing of weights

    def validation_step(self, drawn: Drawn, index: int) -> Tensor:
        """The sums of the losses, one after another."""
        return torch.stack(tuple(self.loss(drawn.batch)))  # type: ignore[arg-type]

    def test_step(self, drawn: Drawn, index: int) -> Tensor:
        return self.validation_step(drawn, index)

    def configure_gradient_clipping(self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None) -> None:
        """Divide by the weight of the step, and clip: one norm, one multiplication. The trainer's own clipping settings are not used."""
        ranks = self.trainer.world_size  # whose gradients have been averaged by now
        local = torch.as_tensor(self.label_weight, device=self.device)
        weight = float(self.trainer.strategy.reduce(local, reduce_op="sum") if ranks > 1 else local)  # type: ignore[arg-type]
        self.label_weight = 0.0
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if weight == 0:
            self.parts.zero_grad(set_to_none=True)  # AdamW then leaves weights and moments alone
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
