"""Attention compared with its dense reference, in values and gradients, on every device that is there."""
import torch
from torch import Tensor

from mm.attention import Backend, attend

TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6, torch.bfloat16: 2e-2}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def finite(lse: Tensor) -> Tensor:
    return lse.masked_fill(lse.isinf(), 0.0)


def values_and_gradients(backend: Backend | None, inputs: tuple[Tensor, ...], mask: Tensor | None, causal: bool,
                         need_lse: bool) -> list[Tensor]:
    """Output, LSE, and the gradients of a function that bends both."""
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    part = attend(*inputs, mask, causal, need_lse=need_lse, backend=backend)
    weight = torch.linspace(-1, 1, part.out.numel(), dtype=torch.float64).view_as(part.out)
    loss = (part.out.double() * weight).sum()
    found = [part.out]
    if part.lse is not None:
        loss = loss + finite(part.lse).double().sin().sum()
        found.append(part.lse)
    return [*found, *torch.autograd.grad(loss, inputs)]


def close(found: list[Tensor], wanted: list[Tensor], dtype: torch.dtype) -> None:
    for a, b in zip(found, wanted, strict=True):
        scale = max(1.0, float(b[b.isfinite()].detach().abs().max())) if b.isfinite().any() else 1.0
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=TOLERANCE[dtype] * scale)
