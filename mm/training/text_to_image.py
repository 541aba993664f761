"""Training of text-to-image diffusion models on captioned pictures: from nothing, whole, in parts, or by low-rank adapters."""
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mm.diffusion.denoiser import Denoiser
from mm.diffusion.denoisers import denoiser
from mm.diffusion.lora import LoRA
from mm.diffusion.objectives import Even, Objective, Weighting, objective_of
from mm.diffusion.prediction import Level, target
from mm.diffusion.source import Source
from mm.training.average import Average
from mm.training.exact import ExactSteps
from mm.training.optim import Optim
from mm.training.pictures import CaptionedPictures, PictureBatch
from mm.training.rates import freeze_others, groups_of
from mm.training.schedule import Schedule
from mm.training.staging import replaced
from mm.training.tally import Pictures
from mm.vision.resize import Resize


class PictureLoss(NamedTuple):
    """total: Σ of the pictures' weighted mean squared errors; weight: how many pictures. float32 []."""

    total: Tensor
    weight: Tensor


class TextToImage(ExactSteps):
    """Trains a text-to-image pipeline of diffusers, and leaves it as `pipeline/` in the run directory, where `DiffusionPipeline.from_pretrained`
    finds it; one with a `PatchCodec` after `import mm.diffusion.codec`, since diffusers imports nothing for a folder's sake.

    pipeline: where it comes from, `mm.diffusion.Fresh` or `mm.diffusion.Pretrained`. train: glob over parameter names of its parts (`unet`,
    `transformer`, `text_encoder`, ...) → learning rate; what no glob matches is frozen.
    objective: what the denoiser predicts; None for what the pipeline's scheduler samples from. weighting: of noise levels, all alike by default.
    lora: adapters for the denoiser, whose own weights then stay: `train: {"*lora_*": 1.0e-4}`. They are saved as `lora/`, and merged in `pipeline/`.
    caption_dropout: share of captions left out, for classifier-free guidance. average: running average of the weights; validation and the saved
    pipeline have it. resize: how a picture becomes a square. size: its side in px; None for what the denoiser was made for.
    schedule, optim: as in `Supervised`.

    Noise, noise level and dropout of a picture follow from its place in the run alone, so a step is the same step in whatever pieces it is made.
    Frozen parts of a pretrained pipeline are not in checkpoints.
    """

    def __init__(
        self,
        pipeline: Source,
        train: dict[str, float],
        objective: Objective | None = None,
        weighting: Weighting | None = None,
        lora: LoRA | None = None,
        caption_dropout: float = 0.1,
        average: Average | None = None,
        resize: Resize | None = None,
        size: int | None = None,
        schedule: Schedule | None = None,
        optim: Optim | None = None,
    ) -> None:
        super().__init__(train, schedule, optim)
        self.tally = Pictures()
        self.pipeline, self.objective_asked, self.weighting, self.lora = pipeline, objective, weighting or Even(), lora
        self.caption_dropout, self.average, self.resize, self.size = caption_dropout, average, resize, size
        self.objective: Objective
        self.denoiser: Denoiser
        self.averaged = ExitStack()  # open during validation

    # --- parts ------------------------------------------------------------------------------------------------------------------------------------

    @property
    def parts(self) -> nn.Module:
        return self.unregistered[0]

    def configure_model(self) -> None:
        if hasattr(self, "denoiser"):
            return
        built = self.pipeline.build(self.first_pictures)
        self.denoiser = denoiser(built)
        if self.lora is not None:
            self.lora.add(built)
        self.objective = self.objective_asked or objective_of(built.scheduler)
        self.objective.check(built.scheduler)
        own = {name: part for name, part in built.components.items() if isinstance(part, nn.Module)}
        parts = nn.ModuleDict(own | self.further_parts()).train()
        freeze_others(parts, self.rates)
        self.unregistered = (parts,)  # a tuple, so that only what is kept stands in checkpoints
        self.kept = nn.ModuleDict({name: part for name, part in parts.items() if self.pipeline.whole_in_checkpoints or trains(part)})
        self.groups = groups_of(parts, self.rates)
        self.processor = self.reader(self.size or min(self.denoiser.usual_size))
        if self.average is not None:
            self.average.start(parts)

    def further_parts(self) -> dict[str, nn.Module]:
        """What is trained beside the pipeline, by name; nothing here."""
        return {}

    def reader(self, side: int) -> Any:
        """What makes rows of samples, and batches of rows, with pictures of `side` px."""
        return CaptionedPictures(side, self.caption_dropout, self.resize)

    def first_pictures(self, count: int, side: int) -> Tensor:
        """float32 [count or fewer, 3, side, side] in [−1, 1]: of the training data, in its own order."""
        data, reader = self.trainer.datamodule.train, CaptionedPictures(side, 0.0, self.resize)  # type: ignore[attr-defined]
        found: list[Tensor] = []
        for index in range(len(data)):
            if sum(map(len, found)) >= count:
                break
            found.append(reader.encode(data[index]).pixels)
        return scaled(torch.cat(found)[:count])

    def settle(self) -> None:
        """Frozen parts and averages follow to the device of the rest: they are not registered, so Lightning does not move them."""
        self.parts.to(self.device)
        if self.average is not None:
            self.average.to(self.device)

    def on_fit_start(self) -> None:
        self.settle()
        super().on_fit_start()

    # --- steps ------------------------------------------------------------------------------------------------------------------------------------

    def loss(self, batch: PictureBatch) -> PictureLoss:
        latents = self.denoiser.encode(scaled(batch.pixels), lambda shape: batch.noise(shape, stream=1))
        noise = batch.noise(latents.shape[1:]).to(latents)
        timesteps, level = self.objective.levels(batch.u, self.denoiser.pipe.scheduler)
        at = Level(*(side.to(latents).view(-1, 1, 1, 1) for side in level))
        prediction = self.denoiser(at.alpha * latents + at.sigma * noise, timesteps.to(latents.device), self.denoiser.read(batch.captions))
        errors = (prediction.float() - target(self.objective.kind, latents, noise, at)).square().mean((1, 2, 3))
        return PictureLoss((self.weighting.weight(self.objective.kind, level).to(errors) * errors).sum(), errors.new_tensor(float(len(errors))))

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Optimizer | Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average is not None:
            self.average.update(self.parts, self.global_step + 1)  # the trainer counts the step when this returns

    def on_validation_start(self) -> None:
        self.settle()
        if self.average is not None:
            self.averaged.enter_context(self.average.used(self.parts))

    def on_validation_end(self) -> None:
        self.averaged.close()

    on_test_start, on_test_end = on_validation_start, on_validation_end

    # --- what is left -----------------------------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.average is not None:
            checkpoint["average"] = self.average.values

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.average is not None:
            self.average.load(checkpoint.get("average"))

    def save(self, folder: Path) -> None:
        with ExitStack() as stack:
            if self.average is not None:
                stack.enter_context(self.average.used(self.parts))
            whole = self.denoiser.pipe
            if self.lora is not None:
                with replaced(folder / "lora") as staging:
                    self.lora.save(whole, staging)
                self.lora.merge(whole)
            with replaced(folder / "pipeline") as staging:
                whole.save_pretrained(staging)


def trains(part: nn.Module) -> bool:
    return any(weight.requires_grad for weight in part.parameters())


def scaled(pixels: Tensor) -> Tensor:
    """uint8 → float32 in [−1, 1]."""
    return pixels.float() / 127.5 - 1
