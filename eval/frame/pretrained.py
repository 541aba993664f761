"""Answers of a pretrained vision-language model of transformers."""
from collections.abc import Mapping, Sequence

from eval.frame.benchmark import Item, Row
from eval.frame.prompted import prompted
from eval.frame.runner import Answer
from mm.decoding import Decoding, Plain
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.sample import Media, Sample


class Pretrained:
    """rows: of one forward pass."""

    def __init__(self, vlm: PretrainedVLM, rows: int) -> None:
        self.vlm, self.rows = vlm, rows

    def description(self) -> Row:
        model = self.vlm.model
        return {"pretrained": {"class": type(model).__name__, "processor": type(self.vlm.processor).__name__,
                               "dtype": str(model.dtype).removeprefix("torch."), "config": model.config.to_diff_dict()}}

    def answer(self, items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], max_new_tokens: int, decoding: Decoding | None) -> list[Answer]:
        return prompted(items, media, self._prompt, decoding or Plain(), max_new_tokens, self.rows)

    def _prompt(self, samples: Sequence[Sample]) -> PretrainedPrompt:
        return PretrainedPrompt(self.vlm, samples)
