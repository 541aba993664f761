"""A decoupled visual stream beside every cross-attention: Huang et al., "RealCustom", CVPR 2024, and Mao et al., "RealCustom++", 2024; the idea is
that of Ye et al., "IP-Adapter", 2023."""
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mm.attention import attend
from mm.diffusion.custom.cross import CrossAttention, Listener, cross_attentions, listening


@dataclass(frozen=True, eq=False)
class Shown:
    """What one subject shows. tokens: [B, T, width] of its picture. mask: [B, h, w], how much each pixel may see of it; None for all of it
    everywhere. Rows with mask 0 are the plain model's."""

    tokens: Tensor
    mask: Tensor | None = None


class VisualStream(nn.Module):
    """New keys and values of picture tokens, bias-free, one pair a cross-attention; the query is the text's.

    O = SDPA(Q, K_t, V_t) + Σ_subjects mask ⊙ SDPA(Q, K_v, V_v), before the shared output projection. It holds no parameter of the denoiser. Values
    begin at 0, so that an untrained stream is the plain model (our choice; the release's start is not known); keys begin as linear layers do.

    width: of the picture tokens. layers: name of each cross-attention → its inner width. Denoisers with normed keys get the norm on K_v too (ours).
    """

    def __init__(self, width: int, layers: Mapping[str, int]) -> None:
        super().__init__()
        self.width, self.layers = width, dict(layers)
        self.keys = nn.ModuleDict({_key(name): nn.Linear(width, inner, bias=False) for name, inner in layers.items()})
        self.values = nn.ModuleDict({_key(name): nn.Linear(width, inner, bias=False) for name, inner in layers.items()})
        for value in self.values.values():
            nn.init.zeros_(value.weight)  # type: ignore[arg-type]
        self.shown: Sequence[Shown] = ()

    @classmethod
    def beside(cls, denoiser: nn.Module, width: int) -> Self:
        """A new stream that fits the denoiser. ValueError for one without cross-attention."""
        return cls(width, {name: module.to_k.out_features for name, module in cross_attentions(denoiser).items()})

    @contextmanager
    def installed(self, denoiser: nn.Module, *listeners: Listener) -> Iterator[Self]:
        """Until the end, calls of the denoiser add what is `show`n. listeners: who hears each cross-attention besides, the text's output before the
        stream's is added. ValueError unless the stream was made for such a denoiser."""
        found = {name: module.to_k.out_features for name, module in cross_attentions(denoiser).items()}
        if found != self.layers:
            odd = sorted(set(found.items()) ^ set(self.layers.items()))[0]
            raise ValueError(f"the stream was made for {len(self.layers)} cross-attentions and {type(denoiser).__name__} has {len(found)}; they "
                             f"differ at {odd[0]} (width {odd[1]}); load the stream of this model")
        try:
            with listening(denoiser, *listeners, self.beheld):
                yield self
        finally:
            self.show()

    def show(self, *shown: Shown) -> None:
        """What the next calls see, until the next `show`; nothing, which is the plain model to the bit, if called with none.

        It stays after the call, for layers that are recomputed under gradient checkpointing.
        """
        for each in shown:
            if each.tokens.ndim != 3 or each.tokens.shape[2] != self.width:
                raise ValueError(f"picture tokens {list(each.tokens.shape)}, expected [B, T, {self.width}]: the out_width of the projector must be "
                                 "the width of the stream")
            if each.mask is not None and (each.mask.ndim != 3 or len(each.mask) != len(each.tokens)):
                raise ValueError(f"a mask {list(each.mask.shape)} for {len(each.tokens)} rows of picture tokens, expected [{len(each.tokens)}, h, w]")
        self.shown = shown

    def beheld(self, call: CrossAttention, out: Tensor) -> Tensor:
        """The text's output and what the subjects add."""
        for each in self.shown:
            if len(each.tokens) != len(call.query):
                raise ValueError(f"{call.name}: {len(each.tokens)} rows of picture tokens for a batch of {len(call.query)}; show one row for each")
            out = out + self.beside_text(call, each).to(out.dtype)
        return out

    def beside_text(self, call: CrossAttention, shown: Shown) -> Tensor:
        """One subject's part, [B, H, P, D]."""
        tokens = shown.tokens.to(self.keys[_key(call.name)].weight.dtype)  # type: ignore[arg-type]
        key, value = (self._heads(side[_key(call.name)](tokens), call) for side in (self.keys, self.values))
        norm = getattr(call.module, "norm_k", None)
        seen = attend(call.query, key if norm is None else norm(key), value, scale=call.call.scale).out
        if shown.mask is None:
            return seen
        mask = interpolate(shown.mask[:, None].to(seen.dtype), call.size, mode="bilinear")  # each side to its own length: pictures may be oblong
        return seen * mask.flatten(2)[..., None]

    @staticmethod
    def _heads(x: Tensor, call: CrossAttention) -> Tensor:
        """[B, T, inner] → [B, H, T, D]."""
        return x.view(*x.shape[:2], -1, call.query.shape[3]).transpose(1, 2).to(call.query.dtype)

    def save(self, file: Path | str) -> None:
        """As safetensors; sizes stand in its metadata."""
        weights = {name: weight.detach().contiguous() for name, weight in self.state_dict().items()}
        save_file(weights, file, {"stream": json.dumps({"width": self.width, "layers": self.layers})})  # one entry: several are in no fixed order

    @classmethod
    def load(cls, file: Path | str, device: str | torch.device = "cpu") -> Self:
        """What `save` has written; data only, nothing in it is executed. ValueError for another file."""
        with safe_open(str(file), "pt", device=str(device)) as stored:
            about = stored.metadata() or {}
            if "stream" not in about:
                raise ValueError(f"{file} is no visual stream: its metadata has {sorted(about)}, expected stream")
            stream = cls(**json.loads(about["stream"]))
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        stream.load_state_dict(weights, assign=True)
        return stream


def _key(name: str) -> str:
    return name.replace(".", "/")  # a module's name has no dots
