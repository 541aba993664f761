"""What has a rate trains at it, and what has none rests."""
import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from mm.training import Constant, Cosine, Linear, Schedule
from mm.training.rates import freeze_others, groups_of, rates_of, table


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vision = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
        self.projector = nn.Linear(4, 4)
        self.language = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))


def test_a_rate_per_glob_and_what_has_none_rests() -> None:
    parts = Parts().train()
    freeze_others(parts, {"projector": 1e-3, "language.*": 2e-5, "language.1": 0.0})
    trains = [name for name, parameter in parts.named_parameters() if parameter.requires_grad]
    assert trains == ["projector.weight", "projector.bias", "language.0.weight", "language.0.bias"]
    assert not parts.vision[1].training  # no running statistics that drift
    assert not parts.vision[2].training
    assert parts.language[0].training


@pytest.mark.parametrize("recomputing", [False, True])
def test_attention_of_a_frozen_text_encoder_drops_nothing(recomputing: bool) -> None:
    torch.manual_seed(0)
    encoder = T5EncoderModel(T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, dropout_rate=0.5))
    if recomputing:
        encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    freeze_others(nn.ModuleDict({"encoder": encoder, "projector": nn.Linear(8, 8)}).train(), {"projector": 1e-3})
    ids = torch.arange(8)[None]
    assert torch.equal(encoder(ids).last_hidden_state, encoder(ids).last_hidden_state)
    assert encoder.encoder.block[0].training == recomputing  # by which it decides to recompute


def test_matrices_decay_and_vectors_do_not() -> None:
    groups = groups_of(Parts(), {"projector": 1e-3})
    assert [(group.decays, group.names) for group in groups] == [(True, ("projector.weight",)), (False, ("projector.bias",))]


@pytest.mark.parametrize(("train", "said"), [({"projectr": 1.0}, "nearest names: projector"), ({"projector": 0.0}, "nothing trains")])
def test_rates_that_cannot_be_meant_are_errors(train: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rates_of(Parts(), train)


def test_the_start_up_table_says_what_trains() -> None:
    lines = table(Parts(), {"projector": 1e-3, "language.0": 2e-5}).splitlines()
    assert [line.split() for line in lines[1:]] == [["vision", "24", "0", "frozen"], ["projector", "20", "20", "0.001"],
                                                    ["language", "28", "20", "2e-05", "(language.0)"]]


@pytest.mark.parametrize(("schedule", "end"), [(Cosine(4, 0.1), 0.1), (Linear(4, 0.1), 0.1), (Constant(4), 1.0)])
def test_schedules_rise_over_the_warm_up_and_end_at_their_floor(schedule: Schedule, end: float) -> None:
    assert [schedule.factor(step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.factor(100, 100) == pytest.approx(end)
