"""Muon: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; scaled as in Liu et al., arXiv 2502.16982: AdamW's rates fit.

The momentum of each weight matrix is replaced by the nearest (semi-)orthogonal matrix, so that all directions of a layer learn at one speed. On the
procedural world it needs about half of the samples that AdamW needs. Embeddings, the vocabulary head, positions, norms, biases and convolutions stay
with AdamW.
"""
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from mm.training.optim import Optim
from mm.training.precision import fastest_dtype
from mm.training.rates import Group

QUINTIC = (3.4445, -4.7750, 2.0315)  # of the paper: fast rather than exact, singular values end in about [0.7, 1.2]


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The orthogonal factors of [n, rows, columns] matrices by Newton-Schulz iterations, in bfloat16 or whatever is fastest here; float32 out."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).to(fastest_dtype(matrices.device.type))
    x = x / (torch.linalg.matrix_norm(x.float(), keepdim=True) + 1e-7).to(x.dtype)
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


class MuonAdamW(AdamW):
    """Muon for `matrices`, AdamW for all other parameters of the same groups; one optimiser, one state, one checkpoint."""

    def __init__(self, groups: list[dict[str, Any]], matrices: Iterable[Tensor], momentum: float, fused: bool) -> None:
        super().__init__(groups, fused=fused)
        self.matrices = set(matrices)
        self.momentum = momentum

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = {p: p.grad for p in self.matrices if p.grad is not None}
        for parameter in gradients:
            parameter.grad = None  # AdamW passes over what has no gradient
        super().step()
        for group in self.param_groups:
            self._orthogonal_step({p: gradients[p] for p in group["params"] if p in gradients}, group["lr"], group["weight_decay"])
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        return loss

    @torch.no_grad()
    def _orthogonal_step(self, gradients: dict[nn.Parameter, Tensor], lr: float, weight_decay: float) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in gradients:
            by_shape[parameter.shape].append(parameter)
        for shape, parameters in by_shape.items():  # matrices of one shape go through the iterations together
            updates = []
            for parameter in parameters:
                state, gradient = self.state[parameter], gradients[parameter].float()
                state.setdefault("step", torch.zeros(()))  # AdamW looks for it when a checkpoint is loaded
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
                buffer.lerp_(gradient, 1 - self.momentum)
                updates.append(gradient.lerp(buffer, self.momentum))  # Nesterov
            scale = lr * 0.2 * max(shape) ** 0.5  # root mean square of an update as AdamW has it
            for parameter, update in zip(parameters, orthogonalise(torch.stack(updates)), strict=True):
                parameter.mul_(1 - lr * weight_decay).add_(update.to(parameter.dtype), alpha=-scale)


class Muon(Optim):
    """Muon for the weights of hidden linear layers, AdamW with the settings of `Optim` for the rest. One learning rate serves both.

    momentum: of the orthogonalised update. Not for matrices that FSDP shards: an orthogonal factor needs the whole matrix.
    """

    def __init__(self, betas: tuple[float, float] = (0.9, 0.98), eps: float = 1e-8, weight_decay: float = 0.01, clip: float = 1.0,
                 fused: bool = True, momentum: float = 0.95) -> None:
        super().__init__(betas, eps, weight_decay, clip, fused)
        self.momentum = momentum

    def build(self, model: nn.Module, groups: Sequence[Group]) -> AdamW:
        return MuonAdamW(self.settings_of(model, groups), hidden_matrices(model), self.momentum, self.fused)


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Weights of linear layers that train, without vocabulary heads: those are tied to an embedding, or as long as one."""
    vocabularies = {module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)}
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    return [module.weight for module in model.modules() if isinstance(module, nn.Linear) and module.weight.requires_grad
            and module.weight not in tables and module.out_features not in vocabularies]
