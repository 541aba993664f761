"""When a frame comes, as sinusoids: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, over the share of the clip that has passed."""
from math import pi

import torch
from torch import Tensor


class ClipTime:
    """What is added to the features of each frame of a clip.

    Frame f of T stands at (f + 1/2) / T, an image at 1/2. Longer clips than those of training thus need no number that training did not pass through,
    as under a causal frame mask, whose queries also divide the clip and not the seconds; a learned table ends at its last row, and a count of frames
    leaves the range that was trained. Repeating every frame an odd number of times leaves its middle copy where it was. The form is our choice;
    Video-CCAM has no embedding of time, and this is what stands in for its mask when the two are compared.

    cycles: of the fastest sinusoid over a clip. Frames sample it, so half of the trained number of frames is the most that can be told apart; the
    slowest goes a quarter turn, so the whole clip can be told by it.
    """

    def __init__(self, cycles: float = 8.0) -> None:
        if cycles <= 0.25:
            raise ValueError(f"ClipTime: the fastest sinusoid goes faster than the slowest, a quarter of a cycle a clip; got cycles={cycles}")
        self.cycles = cycles

    def __call__(self, frames: int, width: int, like: Tensor) -> Tensor:
        """[frames, width] in the dtype and on the device of `like`: sines, then cosines."""
        passed = (torch.arange(frames, dtype=torch.float64) + 0.5) / frames
        turns = torch.logspace(0, 1, -(-width // 2), self.cycles * 4, dtype=torch.float64) / 4
        angles = 2 * pi * passed[:, None] * turns
        return torch.cat([angles.sin(), angles.cos()], 1)[:, :width].to(like)

    def __repr__(self) -> str:
        return f"ClipTime(cycles={self.cycles:g})"
