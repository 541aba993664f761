"""Visual Attention Redistribution (VAR): Kang et al., "See What You Are Told: Visual Attention Sink in Large Multimodal Models", ICLR 2025.

Some image tokens draw much attention and say nothing: *visual sinks*. VAR finds them by their massive activations, takes part of the mass away from
all sinks, and gives it to the other image tokens, in heads that look at the image rather than at its sinks.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

from mm.reweight.base import Reweight
from mm.reweight.sinks import massive_activation
from mm.tokens import TokenMap

OTHER, TEXT_SINK, VISUAL_SINK, VISUAL = range(4)


class VAR(Reweight):
    """Move attention mass from sink tokens to the rest of the image.

    Args:
        sink_channels: hidden channels in which sinks are massive, one of `mm.reweight.SINK_CHANNELS` or what `find_sink_channels` found. None: those
            in which the first token of the prompt is massive, asked of each prompt and layer (our choice).
        sink_keep: share of its mass that a sink keeps. The paper's p is the share that it *loses*; p in the released code is the share it keeps.
        max_sink_share: a head is image-centric if sinks hold at most this share of its image mass. It is `rho` of the released code, and 1 - rho of
            the paper ...
        min_image_mass: ... and if the image holds at least this mass.
        threshold: activation over root mean square above which a token is a sink (tau). In models narrower than threshold² no token can be one.
        first_layer, last_layer: inclusive, negative ones from the end. Sinks form in the first two layers; the paper leaves the last one out.

    Applies to text rows after an image; with several images, to all that a row sees (our extension). Sinks are found when the prompt is read; decoded
    tokens never become one. Rows keep summing to one. The released code keeps sinks and its row filter in class attributes that no reset reaches, so
    that only the first sample of a process runs the published method, takes the channels of the 7B model for all, and sums masses of weights rounded
    to half precision. Users report that they could not reproduce the paper's figures with it.
    """

    group_count = 4
    group_names = ("text", "text sink", "visual sink", "visual rest")
    idle_group = OTHER
    needs = frozenset({"hidden"})
    shares_rows = True

    def __init__(self, sink_channels: Sequence[int] | None = None, sink_keep: float = 0.4, max_sink_share: float = 0.5,
                 min_image_mass: float = 0.2, threshold: float = 20.0, first_layer: int = 2, last_layer: int = -1) -> None:
        if not 0.0 <= sink_keep <= 1.0:
            raise ValueError(f"VAR: sink_keep is a share of mass, so in [0, 1]; got {sink_keep}")
        if not 0.0 <= max_sink_share < 1.0:
            raise ValueError(f"VAR: max_sink_share is a share of the image's mass that leaves some for the rest, so in [0, 1); got {max_sink_share}")
        if not 0.0 < min_image_mass <= 1.0:
            raise ValueError(f"VAR: min_image_mass is a share of mass, so in (0, 1]; got {min_image_mass}")
        self.sink_channels = sink_channels
        self.sink_keep = sink_keep
        self.max_sink_share = max_sink_share
        self.min_image_mass = min_image_mass
        self.threshold = threshold
        self.first_layer = first_layer
        self.last_layer = last_layer

    @classmethod
    def paper(cls, sink_channels: Sequence[int] | None = None, rho: float = 0.8) -> "VAR":
        """As published: sinks lose 60 %. rho: .8 for general tasks, .5 for hallucination, .9 for vision-centric tasks."""
        return cls(sink_channels, sink_keep=0.4, max_sink_share=1.0 - rho, last_layer=-2)

    @classmethod
    def released(cls, sink_channels: Sequence[int] | None = None) -> "VAR":
        """As the released code is configured and behaves in a process's first sample: sinks lose 40 %, and the last layer is not left out."""
        return cls(sink_channels, sink_keep=0.6, max_sink_share=0.5, last_layer=-1)

    @property
    def is_neutral(self) -> bool:
        return self.sink_keep == 1.0

    def rows(self, tokens: TokenMap) -> Tensor:
        return tokens.follows_vision

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """Long [B, N] from the hidden states [B, N, C] that enter the layer. ValueError without states, or where they overflowed."""
        if hidden is None:
            raise ValueError("VAR finds sinks in the hidden states that enter a layer and was given none; pass `hidden`")
        sink = (massive_activation(hidden, self.sink_channels, tokens, self.threshold) > self.threshold) & tokens.is_real
        return torch.where(tokens.is_vision, torch.where(sink, VISUAL_SINK, VISUAL), torch.where(sink, TEXT_SINK, OTHER))

    def acts_on(self, groups: Tensor) -> bool:
        return bool((groups == VISUAL_SINK).any())

    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        text_sink, visual_sink, visual = mass[TEXT_SINK], mass[VISUAL_SINK], mass[VISUAL]
        image = visual_sink + visual
        image_size = size[VISUAL_SINK] + size[VISUAL]
        image_centric = ((size[VISUAL_SINK] > 0)
                         & (visual_sink <= self.max_sink_share * (image + 1e-6 * image_size))  # 1e-6 a visible token, as released
                         & (image >= self.min_image_mass) & (visual > 0))
        freed = (1 - self.sink_keep) * (text_sink + visual_sink)
        # Guarded twice: dividing by 0 where the gate is shut would still make gradients NaN.
        gain = torch.where(image_centric, freed / torch.where(image_centric, visual, 1.0), 0.0)
        one = torch.ones_like(gain)
        drain = one.masked_fill(image_centric, self.sink_keep)
        return torch.stack([one, drain, drain, one + gain])
