"""LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.

The linear heads come with torchmetrics; the backbone is a file of the user's, for nothing is downloaded here.
"""
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from mm.diffusion.metrics.pictures import outside, pair, shown
from mm.diffusion.metrics.weights import state_of

Backbone = Literal["squeeze", "alex", "vgg"]
TORCHVISION = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}


class LPIPS(nn.Module):
    """Distance of features, weighted by learned heads; with a mask the mean outside it of the distance at each pixel.

    Args:
        weights: state of the torchvision model (squeezenet1_1, alexnet, vgg16), as a file or as a mapping; its classifier may be missing.
        backbone: "squeeze", which PIE-Bench reports, "alex" or "vgg".
    """

    def __init__(self, weights: str | Path | Mapping[str, Tensor], backbone: Backbone = "squeeze") -> None:
        from torchmetrics.functional.image.lpips import _LPIPS  # the public function downloads a backbone whenever it is called

        super().__init__()
        if backbone not in get_args(Backbone):
            raise ValueError(f"LPIPS knows the backbones {', '.join(get_args(Backbone))}; got {backbone!r}")
        self.net: Any = _LPIPS(net=backbone, spatial=True, pnet_rand=True)
        fill(self.net.net, state_of(weights), backbone)

    @torch.inference_mode()
    def forward(self, first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None) -> float:
        """uint8 [H, W, 3] each, at least 32 pixels a side; mask [H, W], true where the edit may be."""
        a, b = pair(first, second if mask is None else shown(first, second, mask))
        if min(a.shape[-2:]) < 32:
            raise ValueError(f"LPIPS reduces pictures by 16 and more, so they have 32 pixels a side; got {a.shape[-2]} x {a.shape[-1]}")
        device = next(self.net.parameters()).device
        self.net.spatial = mask is not None  # without one the mean over each layer's own grid, as published
        found = self.net(a.to(device), b.to(device), normalize=True)
        return float(found) if mask is None else outside(found, mask)


def fill(slices: nn.Module, state: Mapping[str, Tensor], backbone: Backbone) -> None:
    """Load the features of a torchvision model into slices of it, whose layers keep their numbers: slice1.0.weight, or slices.0.0.weight."""
    above = 2 if backbone == "squeeze" else 1
    source = {name: "features." + name.split(".", above)[-1] for name in slices.state_dict()}
    missing = [name for name in source.values() if name not in state]
    if missing:
        raise ValueError(f"LPIPS: the weights are no state of torchvision's {TORCHVISION[backbone]}: {len(missing)} of {len(source)} tensors are "
                         f"missing, such as {missing[0]}; there are {', '.join(sorted(state)[:3]) or 'none'} ...")
    try:
        slices.load_state_dict({own: state[name] for own, name in source.items()})
    except RuntimeError as error:
        raise ValueError(f"LPIPS: the weights are no state of torchvision's {TORCHVISION[backbone]}: {str(error).splitlines()[1].strip()}") from error
