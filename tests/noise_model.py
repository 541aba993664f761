"""A diffusion model in closed form, that of the recorded vectors, and schedulers to go with it."""
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from mm.diffusion.text import Text


def noise(z: Tensor, timestep: Tensor, text: Text) -> Tensor:
    """0.5 tanh(z w_c + m u_c + t / 1000), m the mean of the tokens weighted with cos(d); one m a prompt."""
    tokens = text.tokens
    channel = torch.arange(z.shape[1], dtype=z.dtype).view(1, -1, 1, 1)
    m = (tokens * torch.cos(torch.arange(tokens.shape[-1], dtype=tokens.dtype))).mean((1, 2)).view(-1, 1, 1, 1)
    t = timestep.to(z.dtype).view(-1, 1, 1, 1)
    return 0.5 * torch.tanh(z * (0.3 + 0.1 * channel) + m * (0.5 - 0.2 * channel) + t / 1000)


def ddim_scheduler(**changes: Any) -> DDIMScheduler:
    """Stable Diffusion's, but for what is said."""
    settings = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
                "set_alpha_to_one": False, "steps_offset": 0, "timestep_spacing": "leading"}
    return DDIMScheduler(**(settings | changes))


def prompts(count: int, seed: int = 0, length: int = 4, width: int = 6) -> Text:
    return Text(torch.randn(count, length, width, generator=torch.Generator().manual_seed(seed)))


def pictures(count: int, seed: int = 0, channels: int = 3, side: int = 4) -> Tensor:
    """Latents."""
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(100 + seed))
