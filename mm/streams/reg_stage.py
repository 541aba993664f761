"""Residual bottlenecks with squeeze and excitation: Radosavovic et al., "Designing Network Design Spaces" (RegNet), CVPR 2020.

As timm builds them with SiLU, LayerNorm over channels, groups of one and a bottleneck as wide as the block, under timm's names, so its weights load.
Written here because levers do not import timm; a test holds them equal.
"""
from torch import Tensor, nn


class RegStage(nn.Sequential):
    """[F, in_width, rows, cols] → [F, width, rows, cols] through `depth` blocks b1, b2, ..."""

    def __init__(self, in_width: int, width: int, depth: int) -> None:
        super().__init__()
        for i in range(depth):
            self.add_module(f"b{i + 1}", Bottleneck(in_width if i == 0 else width, width))


class Bottleneck(nn.Module):
    """x → SiLU(shortcut(x) + conv3(excited(conv2(conv1(x))))); the shortcut is a map where the width changes."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.conv1 = Convolution(in_width, width, 1)
        self.conv2 = Convolution(width, width, 3, groups=width)
        self.se = SqueezeExcite(width, max(1, round(in_width / 4)))
        self.conv3 = Convolution(width, width, 1)
        self.downsample = Convolution(in_width, width, 1) if in_width != width else nn.Identity()
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.conv2(self.activation(self.conv1(x))))
        return self.activation(self.conv3(self.se(inner)) + self.downsample(x))


class Convolution(nn.Module):
    """A convolution without bias, and a norm over channels at each place."""

    def __init__(self, in_width: int, width: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    """Every channel times a gate that is read from the mean over the picture: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.activation(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()
