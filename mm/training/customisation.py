"""Training of the decoupled visual stream: Mao et al., "RealCustom++", 2024."""
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from mm.diffusion.custom import Customiser, Shown, SubjectEncoder, SubjectProjector, VisualStream
from mm.diffusion.source import Source
from mm.training.average import Average
from mm.training.optim import Optim
from mm.training.pictures import PictureBatch
from mm.training.references import ReferencedBatch, ReferencedPictures
from mm.training.schedule import Schedule
from mm.training.staging import replaced
from mm.training.text_to_image import PictureLoss, TextToImage
from mm.vision.base import VisionEncoder
from mm.vision.resize import Resize


class Customisation(TextToImage):
    """Trains what a reference picture goes through into a pipeline that stays as it is, and leaves it as `customiser/` in the run directory.

    pipeline: a trained one, with cross-attention. train: glob → learning rate over the parts `projector`, `stream` and the pipeline's; in the release
    the first two alone, which is the default. encoders, side, finer: of `SubjectEncoder`; they are frozen. tokens: width of picture tokens; hidden,
    heads: of the projector. picture_dropout: share of references left out. The reference is seen everywhere: masks are of sampling.
    caption_dropout, average, resize, size, schedule, optim: as in `TextToImage`.
    """

    def __init__(
        self,
        pipeline: Source,
        encoders: list[VisionEncoder],
        side: int = 384,
        finer: int = 2,
        tokens: int = 2048,
        hidden: int = 8704,
        heads: int = 34,
        train: dict[str, float] | None = None,
        picture_dropout: float = 0.1,
        caption_dropout: float = 0.1,
        average: Average | None = None,
        resize: Resize | None = None,
        size: int | None = None,
        schedule: Schedule | None = None,
        optim: Optim | None = None,
    ) -> None:
        super().__init__(pipeline, train or {"projector": 1e-4, "stream": 1e-4}, caption_dropout=caption_dropout, average=average, resize=resize,
                         size=size, schedule=schedule, optim=optim)
        self.encoders, self.side, self.finer, self.tokens, self.hidden, self.heads = encoders, side, finer, tokens, hidden, heads
        self.picture_dropout = picture_dropout
        self.installed = ExitStack()  # for good: the denoiser is this module's own

    @property
    def customiser(self) -> Customiser:
        return self.assembled[0]

    def further_parts(self) -> dict[str, nn.Module]:
        denoiser, encoder = self.denoiser.network, SubjectEncoder(self.encoders, self.side, self.finer)
        projector, stream = SubjectProjector(encoder.width, self.tokens, self.hidden, self.heads), VisualStream.beside(denoiser, self.tokens)
        self.assembled = (Customiser(encoder, projector, stream),)  # a tuple, for its parts are registered already
        self.installed.enter_context(stream.installed(denoiser))
        return {"encoder": encoder, "projector": projector, "stream": stream}

    def reader(self, side: int) -> ReferencedPictures:
        return ReferencedPictures(side, self.side * self.finer, self.caption_dropout, self.picture_dropout, self.resize)

    def loss(self, batch: PictureBatch) -> PictureLoss:
        assert isinstance(batch, ReferencedBatch)
        self.customiser.stream.show(Shown(self.customiser.dropped(batch.references, batch.unseen)))
        return super().loss(batch)

    def save(self, folder: Path) -> None:
        with ExitStack() as stack:
            if self.average is not None:
                stack.enter_context(self.average.used(self.parts))
            with replaced(folder / "customiser") as staging:
                self.customiser.save(staging)
