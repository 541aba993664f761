"""The data of a run: what is trained on, what is validated on, in which batches."""
from typing import Literal

import lightning
from torch.utils.data import Dataset

from mm.training.loader import Drawn, Loader, Once, Order


class Data(lightning.LightningDataModule):
    """Batches for training and validation from any map-style data sets of `mm.sample.Sample`.

    train, val: data sets; without `val` there is no validation. batch_size: samples a step and rank. workers: processes that prepare batches; 0
    uses the training process. seed: of the order and of whatever samples draw at random. on_error: `raise` stops at a sample that cannot be used
    and names it; `skip` takes the next usable one instead, counts it, and warns. val_batch_size: batch_size if None.

    Rows are made by the processor of the model that is trained, so a data set knows nothing of tokenizers or image sizes.
    Raises ValueError for an empty data set or a batch size below 1.
    """

    def __init__(self, train: Dataset, val: Dataset | None = None, batch_size: int = 32, workers: int = 0, seed: int = 0,
                 on_error: Literal["raise", "skip"] = "raise", val_batch_size: int | None = None) -> None:
        super().__init__()
        self.train, self.val, self.batch_size, self.workers, self.seed = train, val, batch_size, workers, seed
        self.on_error, self.val_batch_size = on_error, val_batch_size or batch_size
        self.loader: Loader | None = None
        self.loaders: list[Loader] = []
        if batch_size < 1 or self.val_batch_size < 1 or workers < 0:
            raise ValueError(f"batch_size {batch_size}, val_batch_size {val_batch_size}, workers {workers}: expected at least 1, 1 and 0.")
        for name, samples in (("train", train), ("val", val)):
            if samples is not None and len(samples) == 0:  # type: ignore[arg-type]
                raise ValueError(f"data.{name}: {type(samples).__name__} holds no sample; check its file, split or size.")

    def train_dataloader(self) -> Loader:
        self.loader = self._loader(self.train, Order(
            len(self.train), self.batch_size, self.seed, self.trainer.global_rank, self.trainer.world_size))  # type: ignore[arg-type, union-attr]
        return self.loader

    def val_dataloader(self) -> Loader | list[Loader]:
        if self.val is None:
            return []
        return self._loader(self.val, Once(
            len(self.val), self.val_batch_size, self.trainer.global_rank, self.trainer.world_size))  # type: ignore[arg-type, union-attr]

    def test_dataloader(self) -> Loader | list[Loader]:
        return self.val_dataloader()

    def consumed(self, drawn: Drawn) -> None:
        """The trainer has used this batch: a checkpoint written from now on resumes after it."""
        if self.loader is not None:
            self.loader.consume(drawn)

    def _loader(self, samples: Dataset, order: Order | Once) -> Loader:
        processor = self.trainer.lightning_module.processor  # type: ignore[union-attr]
        pin = self.trainer.strategy.root_device.type == "cuda"  # type: ignore[union-attr]
        self.loaders.append(Loader(samples, processor, order, self.workers, self.seed, self.on_error, pin))  # type: ignore[arg-type]
        return self.loaders[-1]

    def teardown(self, stage: str) -> None:
        while self.loaders:
            self.loaders.pop().close()

    def on_exception(self, exception: BaseException) -> None:
        self.teardown("fit")
