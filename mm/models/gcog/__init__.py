"""Cross-attention baselines of gCOG, a synthetic test of multimodal reasoning: small models whose two streams meet in one attention or two."""
from mm.models.gcog.latent import LatentCrossAttention
from mm.models.gcog.perceiver import Perceiver
from mm.models.gcog.simple import SimpleCrossAttention

__all__ = ["SimpleCrossAttention", "LatentCrossAttention", "Perceiver"]
