"""Efficient probing: zero queries are a mean, padding is not pooled."""
import pytest
import torch

from mm.attention import sliced_pooling
from mm.vision import EfficientProbing
from tests.double import close, fresh, random


def test_probing_with_queries_of_zero_is_the_mean_of_values() -> None:
    model = fresh(EfficientProbing(8, queries=4, reduction=2))
    model.query.data.zero_()
    x = random(2, 5, 8)
    close(model(x).out, model.value(x).mean(1))
    close(model(x).attention, torch.full((2, 4, 5), 0.2, dtype=torch.float64))


def test_padding_does_not_change_what_is_pooled() -> None:
    model, x = fresh(EfficientProbing(8, 2)), random(2, 7, 8)
    real = torch.arange(7) < torch.tensor([[7], [4]])
    found = model(x, real)
    close(found.out[1:], model(x[1:, :4]).out)
    assert (found.attention[1, :, 4:] == 0).all()
    nothing = model(x, torch.zeros(2, 7, dtype=torch.bool))
    assert (nothing.attention == 0).all()
    assert nothing.out.isfinite().all()


def test_widths_that_do_not_fit_are_one_error() -> None:
    with pytest.raises(ValueError, match="queries times reduction divides width; got width=8, queries=3"):
        EfficientProbing(8, queries=3)
    with pytest.raises(ValueError, match="share the values evenly"):
        sliced_pooling(random(1, 2, 4), random(3, 4), random(1, 2, 4))
