"""Which picture tokens matter now: inspired by the adaptive scoring module of Huang et al., "RealCustom", CVPR 2024.

The module is described in the paper and is not in the release. This is a reconstruction from memory of the paper, unverified; nothing here reproduces
published weights or numbers. It is off unless asked for.
"""
from typing import Protocol

import torch
from torch import Tensor, nn


class Scorer(Protocol):
    """Chooses and weighs picture tokens before they enter the visual stream."""

    def __call__(self, tokens: Tensor, text: Tensor, latents: Tensor, signal: Tensor) -> Tensor:
        """tokens [B, T, width], text [B, K, D], latents [B, C, h, w], signal [B], the square root of alpha-bar → tokens [B, T', width]."""


class RelevanceScorer(nn.Module):
    """Tokens scored by how well they go with the text and with the latents, the second the more the less noise there is; the best stay, weighted.

    score = (1 - signal) · score_text + signal · score_latents, each a softmax over the T tokens of scaled products with the mean of text or latents,
    in a space of `inner` dimensions. The int(keep · T) best stay in their order, times their score renormalised to a mean of 1 (ours), so that even
    scores change nothing.
    """

    def __init__(self, width: int, text_width: int, latent_channels: int, inner: int = 64, keep: float = 0.8) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ValueError(f"RelevanceScorer: keep {keep} is no share of the tokens; expected more than 0, up to 1")
        self.width, self.text_width, self.latent_channels, self.inner, self.keep = width, text_width, latent_channels, inner, keep
        self.of_tokens = nn.Linear(width, inner, bias=False)
        self.of_text = nn.Linear(text_width, inner, bias=False)
        self.of_latents = nn.Linear(latent_channels, inner, bias=False)

    def forward(self, tokens: Tensor, text: Tensor, latents: Tensor, signal: Tensor) -> Tensor:
        asked = torch.stack([self.of_text(text.mean(1)), self.of_latents(latents.mean((2, 3)))], 1)  # [B, 2, inner]
        scores = (asked @ self.of_tokens(tokens).transpose(1, 2) / self.inner**0.5).softmax(-1)  # [B, 2, T]
        share = torch.stack([1 - signal, signal], 1)[..., None].to(scores)
        score = (share * scores).sum(1)
        count = max(1, int(self.keep * tokens.shape[1]))
        best = score.topk(count, dim=1).indices.sort(1).values
        kept = score.gather(1, best)
        weight = kept / kept.mean(1, keepdim=True)
        return tokens.gather(1, best[..., None].expand(-1, -1, tokens.shape[2])) * weight[..., None]
