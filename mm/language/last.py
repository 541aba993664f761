"""The MLP of the last block at the rows that are read, and only there: nothing looks at what it makes of the others.

It is what logits at labelled rows are to the head, one layer further down. In the demo one token in five predicts a label.
"""
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

ARGUMENT = "mm_rows"  # travels through the decoder with each call, so that a block that is recomputed for its gradient finds it again


class LastMLP:
    """Lets the last block of `model` leave its MLP out at all tokens but the rows of a call's `mm_rows`: indices [R] into its flattened tokens.

    serves: whether `model` has the gated MLP that Llama and most after it have, which takes each token by itself; others compute every row.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        last = list(getattr(model.base_model, "layers", [nn.Module()]))[-1]
        mlp: Any = getattr(last, "mlp", None)
        attention: Any = getattr(last, "self_attn", None)
        self.serves = (isinstance(getattr(mlp, "down_proj", None), nn.Module) and isinstance(attention, nn.Module)
                       and all(map(passes_on, (model.base_model, last, attention))))
        self.rows: Tensor | None = None
        self.shape = torch.Size()
        if self.serves:
            attention.register_forward_pre_hook(self.begin, with_kwargs=True)  # in the block, so that a recomputation comes through it
            mlp.register_forward_pre_hook(self.take)
            mlp.register_forward_hook(self.put_back)

    def arguments(self, rows: Tensor | None) -> dict[str, Tensor]:
        """What to call the decoder with besides: nothing where all rows are read."""
        return {ARGUMENT: rows} if self.serves and rows is not None else {}

    def begin(self, attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.rows = kwargs.get(ARGUMENT)
        return args, kwargs

    def take(self, mlp: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.rows is None:
            return args
        self.shape = args[0].shape
        return (args[0].flatten(0, 1)[self.rows][None],)

    def put_back(self, mlp: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        if self.rows is None:
            return out
        return out.new_zeros(self.shape[:-1].numel(), out.shape[-1]).index_copy(0, self.rows, out[0]).view(self.shape)


def passes_on(module: nn.Module) -> bool:
    """Whether the module takes arguments that it does not know, as transformers passes them on to its blocks."""
    return any(parameter.kind is Parameter.VAR_KEYWORD for parameter in signature(module.forward).parameters.values())
