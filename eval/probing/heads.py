"""The heads that are compared. Each reads features [B, N, width] and says logits of shape and colour; what it trains on is its own affair."""
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from data.world.vocabulary import COLOURS, SHAPES
from mm.training import UncertaintyWeighted
from mm.vision import EfficientProbing
from mm.vision.attention import DCAL, Trunk, random_partners

CLASSES = (len(SHAPES), len(COLOURS))
DEPTH, HEADS, MLP_RATIO = 2, 2, 2  # of the heads that are transformers


class Head(nn.Module, ABC):
    """name: in the table. rate: peak learning rate; of linear and efficient probing and of two blocks the best of three on validation pictures of a
    seed that is not reported, and the blocks' for what is built on them. decay: of the weights."""

    name: str
    rate: float
    decay: float

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """labels: int64 [B, 2]."""

    @abstractmethod
    def probabilities(self, features: Tensor) -> list[Tensor]:
        """[B, classes] for shape and for colour."""


def attribute_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the cross-entropies of both attributes."""
    parts = logits.split(CLASSES, -1)
    return cross_entropy(parts[0], labels[:, 0]) + cross_entropy(parts[1], labels[:, 1])


def shares(logits: Tensor) -> list[Tensor]:
    return [part.softmax(-1) for part in logits.split(CLASSES, -1)]


class Plain(Head, ABC):
    """A head with one set of logits."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, classes of both attributes]."""

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return attribute_loss(self(features), labels)

    def probabilities(self, features: Tensor) -> list[Tensor]:
        return shares(self(features))


class Linear(Plain):
    """Mean of the features, batch norm, linear map."""

    name, rate, decay = "linear probing", 0.1, 0.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classify = nn.Sequential(nn.BatchNorm1d(width, affine=False, eps=1e-6), nn.Linear(width, sum(CLASSES)))

    def forward(self, features: Tensor) -> Tensor:
        return self.classify(features.mean(1))


class Efficient(Plain):
    """Efficient probing, batch norm, linear map."""

    name, rate, decay = "efficient probing", 0.1, 0.0

    def __init__(self, width: int, queries: int = 8) -> None:
        super().__init__()
        self.pool = EfficientProbing(width, queries)
        self.classify = nn.Sequential(nn.BatchNorm1d(width, affine=False, eps=1e-6), nn.Linear(width, sum(CLASSES)))

    def forward(self, features: Tensor) -> Tensor:
        return self.classify(self.pool(features).out)


class Blocks(Plain):
    """A class token and two blocks of self-attention: DCAL without its cross-attentions."""

    name, rate, decay = "two blocks", 3e-3, 0.05

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = Trunk(width, DEPTH, HEADS, MLP_RATIO)
        self.classify = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(CLASSES)))

    def forward(self, features: Tensor) -> Tensor:
        return self.classify(self.trunk(features)[0][:, 0])


class Paired(Blocks):
    """Two blocks that train on pairs, too."""

    name = "two blocks + PWCA"

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.weigh = UncertaintyWeighted(2)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        paired = self.classify(self.trunk.paired(features, random_partners(len(features)))[:, 0])
        return self.weigh(torch.stack([attribute_loss(self(features), labels), attribute_loss(paired, labels)]))


class GlobalAndLocal(Head):
    """Two blocks and global-local cross-attention."""

    name, rate, decay = "two blocks + GLCA", 3e-3, 0.05
    terms = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = DCAL(width, sum(CLASSES), DEPTH, HEADS, mlp_ratio=MLP_RATIO)
        self.weigh = UncertaintyWeighted(self.terms)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        found = self.model(features, self.partners(len(features)))
        return self.weigh(torch.stack([attribute_loss(logits, labels) for logits in found if logits is not None]))

    def partners(self, count: int) -> Tensor | None:
        return None

    def probabilities(self, features: Tensor) -> list[Tensor]:
        found = self.model(features)
        return [whole + local for whole, local in zip(shares(found.whole), shares(found.local), strict=True)]


class Both(GlobalAndLocal):
    """DCAL: both cross-attentions."""

    name = "DCAL"
    terms = 3

    def partners(self, count: int) -> Tensor | None:
        return random_partners(count)


COMPARED: tuple[type[Linear | Efficient | Blocks | GlobalAndLocal], ...] = (Linear, Efficient, Blocks, GlobalAndLocal, Paired, Both)
