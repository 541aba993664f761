"""The stream encoder of gCOG's models: Ito et al., "On the generalization capacity of neural networks during generic multimodal reasoning",
ICLR 2024."""
import torch
from torch import Tensor, nn

from mm.vision.attention import CrossAttention


class StreamEncoder(nn.Module):
    """[B, N, inputs] → [B, N, width]: a linear map, sinusoidal positions, one post-norm block of self-attention; its MLP ends in a ReLU, as released.

    longest: tokens for which there are positions. ValueError for a longer stream.
    """

    def __init__(self, inputs: int, longest: int, width: int, heads: int) -> None:
        super().__init__()
        self.longest = longest
        self.embed = nn.Linear(inputs, width)
        self.attention = CrossAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.register_buffer("positions", sinusoids(longest, width), persistent=False)
        self.positions: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.longest:
            raise ValueError(f"StreamEncoder: {x.shape[1]} tokens, and positions for {self.longest}; build it with a larger `longest`")
        x = self.embed(x) + self.positions[:x.shape[1]]
        x = self.norm1(x + self.attention(x, x))
        return self.norm2(x + self.mlp(x))


def sinusoids(count: int, width: int) -> Tensor:
    """[count, width], sine and cosine in turn, of periods from 2π to 20000π (Vaswani et al., NeurIPS 2017). width is even."""
    angle = torch.arange(count)[:, None] * torch.exp(-torch.arange(0, width, 2) / width * torch.log(torch.tensor(1e4)))
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
