"""A cache of rows that go on behind a shared trunk: it holds their own keys only, and `mm.attention.trunk` has the others."""
from typing import Any

from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class BehindTrunk(DynamicLayer):  # type: ignore[misc]
    """Counts the `length` keys of the trunk among those that precede its own, as a sliding layer counts those that it has let go."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def get_seq_length(self) -> int:
        return self.length + super().get_seq_length()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return super().get_seq_length() + query_length, self.length

    def batch_select_indices(self, indices: Tensor) -> None:
        if self.is_initialized:
            super().batch_select_indices(indices)


def is_shareable(cache: DynamicCache) -> bool:
    """Whether all of its layers keep every key."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def keeps_all(model: PreTrainedModel) -> bool:
    """Whether its layers keep every key. Those that slide count padding, so rows cannot go on at different lengths behind a shared trunk."""
    return not any(getattr(layer, "is_sliding", False) for layer in DynamicCache(config=model.config.get_text_config()).layers)


def behind(cache: Any) -> DynamicCache:
    """An empty cache behind the keys of `cache`."""
    after = DynamicCache()
    after.layers = [BehindTrunk(layer.get_seq_length()) for layer in cache.layers]
    return after
