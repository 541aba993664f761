"""One seed: an encoder without labels, then every head on its features, on the same batches and for equally many steps."""
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from data.world import World
from eval.probing.encoder import features_of, one_cycle, pretrained
from eval.probing.heads import COMPARED, Head
from eval.probing.pictures import SINGLE, Pictures, pictures


@dataclass(frozen=True)
class Budget:
    """steps: of each head; encoder_steps: of the encoder before. batch: pictures a step of either. width: of the features. train, test: pictures."""

    steps: int = 400
    encoder_steps: int = 400
    batch: int = 32
    width: int = 64
    train: int = 4000
    test: int = 1000


@dataclass(frozen=True)
class Trained:
    """right: bool [test, 2], whether shape and colour were recognised. parameters: that were trained. seconds: of CPU time in training."""

    right: Tensor
    parameters: int
    seconds: float


def run(seed: int, budget: Budget) -> dict[str, Trained]:
    """Each head by name. The seed draws training pictures, weights and batches; the test pictures are the same for all seeds."""
    unlabelled = pictures("train", budget.train, seed, World())
    encoder = pretrained(unlabelled.pixels, budget.encoder_steps, budget.batch, budget.width, seed)
    train, test = pictures("train", budget.train, seed, SINGLE), pictures("test", budget.test, 0, SINGLE)
    features, asked = features_of(encoder, train.pixels), features_of(encoder, test.pixels)
    return {kind.name: trained(kind, features, train, asked, test, seed, budget) for kind in COMPARED}


def trained(kind: type[Head], features: Tensor, train: Pictures, asked: Tensor, test: Pictures, seed: int, budget: Budget) -> Trained:
    """AdamW with one cycle of the learning rate; batches are drawn from a stream of their own."""
    torch.manual_seed(seed)
    head = kind(budget.width)
    optimizer = torch.optim.AdamW(head.parameters(), lr=kind.rate, weight_decay=kind.decay)
    schedule = one_cycle(optimizer, kind.rate, budget.steps)
    draws = torch.Generator().manual_seed(seed)
    started = time.process_time()
    for _ in range(budget.steps):
        chosen = torch.randint(len(features), (budget.batch,), generator=draws)
        loss = head.loss(features[chosen], train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.process_time() - started
    head.eval()
    with torch.no_grad():
        said = torch.stack([shares.argmax(-1) for shares in head.probabilities(asked)], 1)
    return Trained(said == test.labels, sum(parameter.numel() for parameter in head.parameters()), seconds)
